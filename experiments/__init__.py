"""What is not in the wheel: the paper's studies, small detection data sets and their demo, plots."""
