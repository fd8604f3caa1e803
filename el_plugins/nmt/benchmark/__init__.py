"""``el-nmt-benchmark``: every system with every seed, trained, averaged, translated, scored and compared."""
