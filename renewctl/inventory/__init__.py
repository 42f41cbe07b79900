"""What an inventory is: YAML in, frozen values out, every fault with its path and line."""
