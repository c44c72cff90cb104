"""Files of ObsScaling eval_results: SHA-256, bytes, path."""

PINS = """\
511996815735a4c46251dc585dcc525e370d148201f86561e6f927f9df2d0db8 28155 base_llm_benchmark_eval.csv
"""
