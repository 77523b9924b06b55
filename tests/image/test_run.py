"""The image at work, as an engine would run it: its own commands, its user, a root file system that is read-only."""

import json
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
