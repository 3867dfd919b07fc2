"""The door to the world: what other people's tools read, and other people's models."""
