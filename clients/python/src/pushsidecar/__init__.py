"""The contract of push-sidecar: generated stubs (`pushsidecar.<vendor>.v1`) and a thin helper (`client`).

Importing this package imports nothing else, so that the stubs can be used without the helper.
"""
