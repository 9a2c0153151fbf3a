"""HTTP only: a route parses, calls `pipeline`, encodes. No science in here."""
