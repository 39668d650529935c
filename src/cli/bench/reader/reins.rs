//! How a scenario drives a reader.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Read,
    /// Take nothing from the socket.
    Hold,
    /// Say good-bye.
    Leave,
    /// Vanish as a cut line does.
    Cut,
}

/// What a scenario tells a reader to do.
#[derive(Default)]
pub struct Reins {
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

impl Reins {
    pub fn give(&self, order: Order) {
        self.order.set(order);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The order now.
    pub fn order(&self) -> Order {
        self.order.get()
    }

    /// It was not told to go.
    pub fn is_in(&self) -> bool {
        !matches!(self.order.get(), Order::Leave | Order::Cut)
    }

    /// The order now; the task is woken at the next one.
    pub fn listen(&self, cx: &Context<'_>) -> Order {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        self.order.get()
    }

    /// Returns when the order is another.
    pub async fn other_than(&self, order: Order) -> Order {
        poll_fn(|cx| match self.listen(cx) {
            same if same == order => Poll::Pending,
            other => Poll::Ready(other),
        })
        .await
    }
}
