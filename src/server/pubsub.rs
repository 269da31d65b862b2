//! Channels and patterns, and who is subscribed.

use crate::base::glob;
use crate::server::client::ClientRef;
use std::collections::HashMap;

/// Who listens, by name of channel or pattern.
pub type Subscribers = HashMap<Box<[u8]>, Vec<ClientRef>>;

/// Subscribers by channel and by pattern; shard channels have a table of their own.
#[derive(Debug, Default)]
pub struct PubSub {
    pub channels: Subscribers,
    pub patterns: Subscribers,
    pub shard_channels: Subscribers,
}

/// One delivery of a published message.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery {
    pub client: ClientRef,
    /// The pattern that matched; `None` for a subscription to the channel itself.
    pub pattern: Option<Box<[u8]>>,
}

impl PubSub {
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard_channels.is_empty()
    }

    /// Who gets a message on `channel`: its subscribers, then those of matching patterns.
    pub fn receivers(&self, channel: &[u8]) -> Vec<Delivery> {
        let direct = self.channels.get(channel).into_iter().flatten();
        let mut deliveries: Vec<Delivery> =
            direct.map(|client| Delivery { client: *client, pattern: None }).collect();
        for (pattern, clients) in &self.patterns {
            if glob::matches(pattern, channel, glob::Case::Sensitive) {
                deliveries.extend(
                    clients.iter().map(|client| Delivery { client: *client, pattern: Some(pattern.clone()) }),
                );
            }
        }
        deliveries
    }

    /// Who gets a message on a shard channel.
    pub fn shard_receivers(&self, channel: &[u8]) -> &[ClientRef] {
        self.shard_channels.get(channel).map_or(&[], Vec::as_slice)
    }
}

/// Adds a subscriber to a table. The client's own set has told that it is new.
pub fn subscribe(table: &mut Subscribers, name: &[u8], client: ClientRef) {
    table.entry(name.into()).or_default().push(client);
}

/// Removes a subscriber from a table and an empty name with it.
pub fn unsubscribe(table: &mut Subscribers, name: &[u8], client: ClientRef) {
    if let Some(clients) = table.get_mut(name) {
        clients.retain(|other| *other != client);
        if clients.is_empty() {
            table.remove(name);
        }
    }
}
