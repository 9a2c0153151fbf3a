"""Documents of virtual volumes: what a reader asks for before it asks for chunks; pure functions of a layer."""
