"""MDM server products behind one protocol: one file a product.

Adapters raise `NodeFault` with a reason; `observe` alone never raises for a node's fault: there,
failure is data. Every call ends within its own deadline (10 s by default: NanoMDM has no push timeout
of its own).
"""
