"""What benches/churn is made of."""
