"""The names of scores, torch-free: what planning, definitions of benchmarks and `fila_lab.evaluation.SCORES` all go by.

Where the benchmark's own definition and a harness's differ, both are here, under names that say whose each is.
"""

from __future__ import annotations

from fila_lab.config.installed import installed_names

GROUP = "fila_lab.scores"
SCORES: dict[str, str] = {
    "exact": "equal to an answer, character by character",
    "exact_nocase": "equal to an answer, letter case and surplus white space aside",
    "gqa": "equal to an answer, letter case and ASCII punctuation aside (GQA as in lmms-eval)",
    "gqa_original": "equal to an answer in lower case without a full stop at the end (GQA's own evaluation of LLaVA's files)",
    "contains": "an answer stands in the prediction, letter case aside (OCRBench's own rule for everything but formulas)",
    "anls": "1 - edit distance / longer raw length, 0 below one half (DocVQA, InfographicVQA)",
    "anls_stvqa": "the same, white space inside kept and lengths taken without that around (ST-VQA)",
    "anls_vlmevalkit": "the same, lengths taken after white space is collapsed (VLMEvalKit)",
    "relaxed": "numbers within 5 % of the target, all else as text in lower case (ChartQA)",
    "vqa": "annotators who agree, of three, after EvalAI's normal form (TextVQA, VizWiz)",
    "vqa_v2": "the same by the VQA challenge's normal form (VQAv2)",
    "vqa_v2_no_ids": "VQAv2 as lmms-eval has it where answers carry no ids: an annotator leaves out all who gave the same answer",
    "vqa_vlmevalkit": "VQAv2 by VLMEvalKit's normal form, which keeps a full stop behind a digit",
    "letter": "the option's letter in any clear form (B, b, (B), B., Answer: B), or its whole text",
    "choice_letter": "the letter that lmms-eval's ranked rule finds (MMBench static)",
    "mmbench_choice": "the letter or the one option named, as lmms-eval reads MMBench before it asks a judge",
    "mmbench_vlmevalkit": "the same as VLMEvalKit reads it",
    "scienceqa": "the letter, or a text that begins with it and a full stop (ScienceQA in lmms-eval)",
    "scienceqa_llava": "the same, or `The answer is B` (ScienceQA in LLaVA)",
    "seedbench": "the first character (SEED-Bench)",
    "vstar_letter": "the first letter A to D (V*)",
    "mme": "yes or no by the first four characters (MME)",
    "pope_original": "no where the first sentence has No, no or not, else yes (POPE)",
    "pope_lmms_eval": "yes or no and nothing else (POPE in lmms-eval)",
    "ocrbench": "an answer stands in the prediction, full-width letters folded; formulas by their own rule (OCRBench in lmms-eval)",
    "ocrbench_original": "the same without folding (OCRBench)",
    "mathvista": "equal to the answer once read as its type: option, whole number, number of so many places (MathVista)",
}
"""Built-in score -> what it is."""


def score_names() -> tuple[str, ...]:
    """All names, those of installed packages included (which are not imported for it)."""
    return tuple(dict.fromkeys((*SCORES, *installed_names(GROUP))))


AGGREGATE_GROUP = "fila_lab.aggregates"
AGGREGATES: dict[str, str] = {
    "mean": "the mean score",
    "pope_original": "accuracy, precision, recall, F1 and share of yes of what POPE's own reading makes of the predictions",
    "pope_lmms_eval": "the same as lmms-eval counts: other texts are wrong but no negatives, and the share of yes is the truth's",
    "mme": "accuracy and accuracy+ (both questions of an image) in percent, added up over categories: perception (10) and cognition (4)",
    "mmbench_circular": "a question is right if it is right in every rotation of its options",
    "ocrbench": "hits of 1,000, and by kind",
    "entity_grid": "the mean over classes of places, and what share of the corners' score is lost on one seam and on two",
}
"""Built-in aggregate -> what it gives."""


def aggregate_names() -> tuple[str, ...]:
    """All names of aggregates, those of installed packages included (which are not imported for it)."""
    return tuple(dict.fromkeys((*AGGREGATES, *installed_names(AGGREGATE_GROUP))))
