//! From text to orders.

use crate::script::order::{Goal, Order, Part, Work};
use crate::time::{MS, Nanos, SECOND};
use crate::world::Shape;

pub(super) enum Line {
    /// Kept as it is.
    Text,
    /// What an order led to; written anew.
    Told,
    Cluster {
        seed: u64,
        shape: Shape,
    },
    Order(Order),
}

pub(super) fn line(text: &str) -> Result<Line, String> {
    if text.starts_with("    ") {
        return Ok(Line::Told);
    }
    let Some(order) = text.strip_prefix("> ") else {
        return if text.is_empty() || text.starts_with('#') {
            Ok(Line::Text)
        } else {
            Err(format!(
                "`{text}` is neither `# remark`, `> order` nor indented"
            ))
        };
    };
    let words: Vec<&str> = order.split_whitespace().collect();
    if let ["cluster", "members", members, "seed", seed] = words[..] {
        let seed = seed
            .parse()
            .map_err(|_| format!("`{seed}` is not a number"))?;
        return Ok(Line::Cluster {
            seed,
            shape: shape(members)?,
        });
    }
    parse_order(&words)
        .map(Line::Order)
        .ok_or_else(|| format!("`{order}` is no order"))
}

/// `3`, or `2+witness`.
fn shape(text: &str) -> Result<Shape, String> {
    let (data, witnesses) = match text.strip_suffix("+witness") {
        Some(data) => (data, 1),
        None => (text, 0),
    };
    let data = data
        .parse()
        .ok()
        .filter(|data| (1..=7).contains(data))
        .ok_or_else(|| format!("`{text}` members: 1 to 7, perhaps with `+witness`"))?;
    Ok(Shape { data, witnesses })
}

fn parse_order(words: &[&str]) -> Option<Order> {
    let own = |word: &str| word.to_owned();
    Some(match *words {
        ["let", name, "=", who] => Order::Let(own(name), own(who)),
        ["form"] => Order::Form,
        ["run", span] => Order::Run(duration(span)?),
        ["until", ref goal @ .., "within", span] => {
            Order::Until(parse_goal(goal)?, duration(span)?)
        }
        ["kill", part, who] => Order::Kill(parse_part(part)?, own(who)),
        ["stop", "postgres", who] => Order::StopPostgres(own(who)),
        ["start", who] => Order::Start(own(who)),
        ["freeze", part, who] => Order::Freeze(parse_part(part)?, own(who)),
        ["thaw", who] => Order::Thaw(own(who)),
        ["cut", from, "to", to] => Order::CutOneWay(own(from), own(to)),
        ["cut", who, "from", "all"] => Order::CutOff(own(who)),
        ["cut", one, "from", other] => Order::Cut(own(one), own(other)),
        ["join"] => Order::Join,
        ["wipe", who] => Order::Wipe(own(who)),
        ["wipe", "store", "of", who] => Order::WipeStore(own(who)),
        ["remove", "data", "of", who] => Order::RemoveData(own(who)),
        ["remove", "wal", "of", who] => Order::RemoveWal(own(who)),
        ["fail", work, "of", who] => Order::Fail(parse_work(work)?, own(who)),
        ["stall", "disk", "of", who] => Order::StallDisk(own(who)),
        ["mend", "disk", "of", who] => Order::MendDisk(own(who)),
        ["promote", "twin", "by", "hand"] => Order::PromoteTwin,
        ["promote", who, "by", "hand"] => Order::PromoteByHand(own(who)),
        ["hang", who] => Order::Hang(own(who)),
        ["answer", who] => Order::Answer(own(who)),
        ["lead", who] => Order::Lead(own(who)),
        ["switchover"] => Order::Switchover(None),
        ["switchover", "to", who] => Order::Switchover(Some(own(who))),
        ["failover", "to", who] => Order::Failover {
            to: own(who),
            allow_data_loss: false,
        },
        ["failover", "to", who, "allowing", "data", "loss"] => Order::Failover {
            to: own(who),
            allow_data_loss: true,
        },
        ["set", key, value] => Order::Set(own(key), own(value)),
        ["recover", "quorum", "on", who] => Order::RecoverQuorum(own(who)),
        ["heal"] => Order::Heal,
        ["writes"] => Order::Writes,
        _ => return None,
    })
}

fn parse_goal(words: &[&str]) -> Option<Goal> {
    Some(match *words {
        ["epoch", number, "open"] => Goal::Open(number.parse().ok()?),
        ["nobody", "writes"] => Goal::NobodyWrites,
        ["whole"] => Goal::Whole,
        [who, "gone"] => Goal::Gone(who.to_owned()),
        [who, does] => Goal::Working(who.to_owned(), parse_work(does.strip_suffix('s')?)?),
        _ => return None,
    })
}

/// As it is called, and as what a member does: it `clones` in a `clone`.
fn parse_work(word: &str) -> Option<Work> {
    Some(match word {
        "clone" => Work::Clone,
        "rewind" => Work::Rewind,
        "promotion" | "promote" => Work::Promotion,
        "checkpoint" => Work::Checkpoint,
        _ => return None,
    })
}

fn parse_part(word: &str) -> Option<Part> {
    Some(match word {
        "node" => Part::Node,
        "sidecar" => Part::Sidecar,
        "guard" => Part::Guard,
        "postgres" => Part::Postgres,
        _ => return None,
    })
}

/// `300ms` or `5s`.
fn duration(word: &str) -> Option<Nanos> {
    let (digits, unit) = match word.strip_suffix("ms") {
        Some(digits) => (digits, MS),
        None => (word.strip_suffix('s')?, SECOND),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The words of orders, in any order.
    fn words() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            prop::sample::select(vec![
                "cluster",
                "members",
                "seed",
                "let",
                "=",
                "run",
                "until",
                "within",
                "kill",
                "node",
                "sidecar",
                "freeze",
                "cut",
                "to",
                "from",
                "all",
                "promote",
                "by",
                "hand",
                "switchover",
                "failover",
                "allowing",
                "data",
                "loss",
                "set",
                "epoch",
                "open",
                "whole",
                "gone",
                "clones",
                "promotes",
                "fail",
                "clone",
                "of",
                "remove",
                "wal",
                "wipe",
                "store",
                "stall",
                "disk",
                "stop",
                "postgres",
                "3",
                "2+witness",
                "0+witness",
                "8",
                "5s",
                "300ms",
                "ms",
                "99999999999999999999s",
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ];
        prop::collection::vec(word, 0..7).prop_map(|words| format!("> {}", words.join(" ")))
    }

    proptest! {
        #[test]
        fn any_line_is_understood_or_refused_with_its_text(text in prop_oneof![words(), any::<String>()]) {
            if let Err(error) = line(&text) {
                prop_assert!(error.contains('`'), "{error}");
            }
        }
    }
}
