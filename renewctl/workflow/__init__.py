"""What a command does from start to end: read state, ask the rules, act, append.

`prepare` touches no node and opens no key; `deploy` does both.
"""
