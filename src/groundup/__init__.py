"""groundup builds a language model from the ground up: raw text in, a chat model out.

The tree follows the data; docs/architecture.md is the map.
"""

__version__ = "0.1.0"
