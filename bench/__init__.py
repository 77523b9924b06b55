"""The benchmark: what a push costs here, in a naive sidecar, in a minimal Go one, and without any.

Run as modules from the repository's root: `python -m bench.run`, `python -m bench.grpcio` and
`python -m bench.profile`. What came of it: `docs/performance.md`. The product never imports this package.
"""
