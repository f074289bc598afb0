raise RuntimeError("discovery must leave this file alone")
