"""The rows of the table that `benches/compare` fills in: what each measures, and when its target is met."""
