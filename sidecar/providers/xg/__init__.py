"""Tencent XG push v3.

Sources, as cited in this folder: S1 = the vendor's "Push API v3" document, S0 = its older "Rest API overview (V3)";
where they disagree S1 wins. `docs/xg-mapping.md` maps them field by field.
"""
