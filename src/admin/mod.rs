//! Listeners that show metrics and health over HTTP, beside those for clients. Nothing here can act.
//!
//! A [`Site`] is what one listener shows, and to whom: `page` decides about a request, `health` writes the
//! lists, `connection` speaks HTTP, `listener` accepts, and `socket` opens Unix sockets. Bounds of its own
//! hold here, so that a flood takes nothing from clients; `pace` bounds its computing time.
//!
//! Knows neither the server nor the config: it is given sockets, streams and a [`Content`].

mod connection;
mod content;
mod health;
mod listener;
mod pace;
mod page;
mod site;
mod socket;

pub use content::{Asked, Content, Refusal, Visitor};
pub use health::Check;
pub use listener::Listener;
pub use page::Door;
pub use site::Site;
pub use socket::{Socket, SocketFile};
