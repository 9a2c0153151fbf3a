"""What a server of volumes computes, keeps and refuses; no HTTP.

::

    Configuration ─► Catalogue ─► Layer ──┐
                                          ├─► Engine.read ─► request shape ─► admission ─► block cache ─► Dask
    region of a level, in the order of dims ┘

A `Layer` is one array per level that can be looked at: raw data, or something that a project makes of it. The
`Engine` answers with any region of it, computing what nobody has computed yet.
"""
