//! Messages to other clients: publishing, keyspace notifications, pushes.

use crate::resp::{Protocol, Reply};
use crate::server::Server;
use crate::server::client::ClientRef;
use crate::server::config::NotifyFlags;

impl Server {
    /// Appends a message to a client's output, whatever CLIENT REPLY says. For the client whose
    /// command is running it follows its reply.
    pub fn send_to(&mut self, client: ClientRef, bytes: &[u8]) {
        if self.call.client == Some(client) {
            self.call.deferred_pushes.extend_from_slice(bytes);
            return;
        }
        let Some(target) = self.clients.get_mut(client) else { return };
        if target.close_now {
            return;
        }
        target.output.buffer.extend_from_slice(bytes);
        if !self.enforce_output_limit(client) {
            self.schedule_write(client);
        }
        self.account_client(client);
    }

    /// The client's output is to be sent at the end of the turn.
    #[inline]
    pub fn schedule_write(&mut self, client: ClientRef) {
        if let Some(target) = self.clients.get_mut(client)
            && !target.write_pending
        {
            target.write_pending = true;
            self.pending_writes.push(client);
        }
    }

    /// Publishes a message; returns how many clients got it.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        if self.pubsub.channels.is_empty() && self.pubsub.patterns.is_empty() {
            return 0;
        }
        let deliveries = self.pubsub.receivers(channel);
        let mut direct = Encoded::default();
        for delivery in &deliveries {
            let Some(protocol) = self.clients.get(delivery.client).map(|client| client.protocol) else {
                continue;
            };
            match &delivery.pattern {
                None => {
                    let bytes = direct.get(protocol, |out| encode(out, &[b"message", channel, message]));
                    self.send_to(delivery.client, &bytes);
                }
                Some(pattern) => {
                    let mut out = Reply::new(protocol);
                    encode(&mut out, &[b"pmessage", pattern, channel, message]);
                    self.send_to(delivery.client, &out.buffer);
                }
            }
        }
        deliveries.len()
    }

    /// Publishes on a shard channel; returns how many clients got it.
    pub fn publish_shard(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let receivers = self.pubsub.shard_receivers(channel).to_vec();
        let mut encoded = Encoded::default();
        for client in &receivers {
            let Some(protocol) = self.clients.get(*client).map(|client| client.protocol) else { continue };
            let bytes = encoded.get(protocol, |out| encode(out, &[b"smessage", channel, message]));
            self.send_to(*client, &bytes);
        }
        receivers.len()
    }

    /// A keyspace notification, if `notify-keyspace-events` asks for this class.
    #[inline]
    pub fn notify(&mut self, class: NotifyFlags, event: &str, db: usize, key: &[u8]) {
        if self.config.notify_keyspace_events.contains(class) {
            self.notify_wanted(event, db, key);
        }
    }

    fn notify_wanted(&mut self, event: &str, db: usize, key: &[u8]) {
        let flags = self.config.notify_keyspace_events;
        if flags.contains(NotifyFlags::KEYSPACE) {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.publish(&channel, event.as_bytes());
        }
        if flags.contains(NotifyFlags::KEYEVENT) {
            self.publish(format!("__keyevent@{db}__:{event}").as_bytes(), key);
        }
    }
}

/// One message in the protocols that receivers speak, each encoded once.
#[derive(Default)]
struct Encoded {
    resp2: Option<std::rc::Rc<[u8]>>,
    resp3: Option<std::rc::Rc<[u8]>>,
}

impl Encoded {
    fn get(&mut self, protocol: Protocol, encode: impl FnOnce(&mut Reply)) -> std::rc::Rc<[u8]> {
        let slot = match protocol {
            Protocol::Resp2 => &mut self.resp2,
            Protocol::Resp3 => &mut self.resp3,
        };
        let bytes = slot.get_or_insert_with(|| {
            let mut out = Reply::new(protocol);
            encode(&mut out);
            out.buffer.into()
        });
        std::rc::Rc::clone(bytes)
    }
}

fn encode(out: &mut Reply, parts: &[&[u8]]) {
    out.push(parts.len());
    for part in parts {
        out.bulk(part);
    }
}
