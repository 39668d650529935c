//! Somebody at work: who they are, and whom to ask how much they may do.

use std::net::IpAddr;

use super::directory::Broker;
use super::problem::Problem;
use super::quota::{ConnectionGuard, Limited, Meters};
use crate::auth::Principal;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    /// Where they are.
    pub address: IpAddr,
    pub meters: Meters,
}

impl Caller {
    /// For one request.
    pub fn of_request(broker: &Broker, principal: Principal, address: IpAddr) -> Self {
        let meters = broker.quotas.meters(&principal, address);
        Self {
            principal,
            address,
            meters,
        }
    }

    /// The same at work for longer: with a meter of its own, and counted as a connection until that is dropped.
    pub fn connect(&self, broker: &Broker) -> Result<(Self, ConnectionGuard), Problem> {
        let meters = broker
            .quotas
            .connection_meters(&self.principal, self.address);
        let guard = meters
            .connect()
            .map_err(|limited| limited.refuse(&broker.metrics))?;
        let caller = Self {
            meters,
            ..self.clone()
        };
        Ok((caller, guard))
    }

    /// The same connection, with somebody else on it or with other rights.
    pub fn with_principal(&self, broker: &Broker, principal: Principal) -> Self {
        let meters = broker.quotas.meters(&principal, self.address);
        Self {
            meters: self.meters.with_principal(meters),
            principal,
            address: self.address,
        }
    }
}

impl Broker {
    /// Takes from every rate that a publish has to ask: of its connection, its subject or key, its address, and of
    /// the topic's namespace.
    pub fn take_rate(
        &self,
        caller: &Caller,
        namespace: &str,
        events: usize,
        bytes: usize,
    ) -> Result<(), Limited> {
        let namespace = self.quotas.namespace(namespace);
        caller
            .meters
            .take_publish(namespace, events, bytes, self.now())
    }
}
