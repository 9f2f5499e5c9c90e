//! Every synchronous set of four members, each known by its number: a state holds many of them.

use std::fmt::{Debug, Formatter, Result};
use std::ops::Deref;
use std::sync::LazyLock;

use pgha_core::sync::{Method, SyncSet};

pub(super) const MOST_MEMBERS: usize = 4;

/// What the walsenders of the core refer to.
pub(super) const NAMES: [u8; MOST_MEMBERS] = [0, 1, 2, 3];

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Set(u16);

static ALL: LazyLock<Vec<SyncSet<u8>>> = LazyLock::new(|| {
    let mut orders: Vec<Vec<u8>> = vec![Vec::new()];
    let mut next = 0;
    while let Some(order) = orders.get(next).cloned() {
        let others = NAMES.iter().filter(|name| !order.contains(name));
        orders.extend(others.map(|name| [order.as_slice(), &[*name]].concat()));
        next += 1;
    }
    let of = |names: &Vec<u8>| {
        // To a quorum the order means nothing.
        let methods = if names.is_sorted() { 2 } else { 1 };
        let methods = [Method::Priority, Method::Quorum].into_iter().take(methods);
        let each = |method| (0..=names.len()).map(move |count| (count, method));
        let set = |(count, method)| SyncSet::new(names.clone(), count, method).expect("valid");
        methods.flat_map(each).map(set).collect::<Vec<_>>()
    };
    orders[1..].iter().flat_map(of).collect()
});

impl Set {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..ALL.len() as u16).map(Self)
    }
}

impl Deref for Set {
    type Target = SyncSet<u8>;

    fn deref(&self) -> &SyncSet<u8> {
        &ALL[usize::from(self.0)]
    }
}

impl Debug for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let method = match self.method() {
            Method::Quorum => "ANY",
            Method::Priority => "FIRST",
        };
        write!(f, "{method} {} {:?}", self.count(), self.names())
    }
}
