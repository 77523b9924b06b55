"""Tencent XG push and its successor TPNS."""
