"""The paper's studies on the user's data: ``python -m experiments.studies NAME``, one module per study."""
