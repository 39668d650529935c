"""What benches/curves measures: what stands on x, what is held, and the run of `tidewire bench` for one point."""
