"""Coverage-guided fuzzing with Atheris. README.md says how to run it and how to add a target."""
