"""``el-detection-benchmark``: every system with every seed, trained, evaluated and compared."""
