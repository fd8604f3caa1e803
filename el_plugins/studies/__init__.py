"""The paper's studies on the user's data: ``python -m el_plugins.studies NAME``, one module a study."""
