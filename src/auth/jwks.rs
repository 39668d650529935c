//! stub
use super::keys::KeySet;
use jsonwebtoken::Algorithm;
use std::sync::Arc;
pub struct Jwks {}
pub struct JwksTiming {
    pub refresh: std::time::Duration,
    pub min_interval: std::time::Duration,
    pub timeout: std::time::Duration,
}
impl Jwks {
    pub fn new(_url: String, _algorithms: Vec<Algorithm>, _timing: JwksTiming) -> Arc<Self> {
        Arc::new(Self {})
    }
    pub fn current(&self) -> Option<Arc<KeySet>> {
        None
    }
    pub async fn look_again(&self) -> Option<Arc<KeySet>> {
        None
    }
    pub async fn keep_fresh(self: Arc<Self>) {}
}
