//! From the wire to the core's types. A message of an old, broken or hostile peer may lack a field
//! or hold nonsense in it: what leaves here is known good.

mod addresses;
mod field;
mod form;
mod identity;
mod log_id;

pub use self::addresses::address;
pub use self::field::{FieldError, missing, raft_id, store_id};
pub use self::form::{check_form, check_member};
pub use self::identity::Parties;
pub use self::log_id::log_id_text;
