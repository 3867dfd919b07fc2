"""The MLflow mirror of a study's folder: runs, curves and summaries, shown while cells run and completed afterwards."""
