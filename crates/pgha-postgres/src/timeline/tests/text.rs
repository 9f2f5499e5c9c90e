//! Numbers and positions as text: file names and history files.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// As PostgreSQL writes it.
fn line(ancestor: &Ancestor) -> String {
    let Ancestor { timeline, switch } = ancestor;
    format!("{timeline}\t{switch}\tno recovery target specified\n")
}

fn any_history() -> impl Strategy<Value = Vec<Ancestor>> {
    prop::collection::vec((1_u32..5, 1_u64..1 << 40), 1..8).prop_map(|steps| {
        let mut at = (0, 0);
        let ancestors = steps.iter().map(|(up, forward)| {
            at = (at.0 + up, at.1 + forward);
            Ancestor {
                timeline: TimelineId(at.0),
                switch: Lsn(at.1),
            }
        });
        ancestors.collect()
    })
}

/// Lines that may follow each other, and such as may not, or are none.
fn any_text() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        12 => "[1-6]\t0/[1-9A-F][0-9]{0,2}(\t[a-z ]{0,9})?",
        2 => "[ \t]{0,2}[0-9]{1,2}[ \t]{1,2}[0-9a-f]{0,9}/[0-9A-F]{1,9}[ \t]{0,2}",
        1 => "[ \t]{0,2}(#.{0,9})?",
        1 => "[+-]?[0-9a-f]{0,11}[ \t/]{0,2}[0-9/]{0,6}",
        1 => "\\PC{0,12}",
    ];
    let any_line = prop::collection::vec(line, 0..4);
    (any_line, any::<bool>(), any::<bool>()).prop_map(|(mut lines, in_order, ended)| {
        if in_order {
            lines.sort();
        }
        lines.join("\n") + if ended { "\n" } else { "" }
    })
}

/// The same rules once more, one after the other; none where one is broken.
fn read(timeline: TimelineId, text: &str) -> Option<Vec<Ancestor>> {
    let mut ancestors = Vec::new();
    for line in text.split_inclusive('\n') {
        let mut words = line.split_whitespace();
        let Some(number) = words.next().filter(|word| !word.starts_with('#')) else {
            continue;
        };
        let position = words.next()?;
        if line.ends_with(position) {
            return None; // Whether it ends here is not known.
        }
        ancestors.push(Ancestor {
            timeline: TimelineId(number.parse().ok()?),
            switch: position.parse().ok()?,
        });
    }
    let ordered = ancestors
        .windows(2)
        .all(|two| two[0].timeline < two[1].timeline && two[0].switch < two[1].switch);
    let below = ancestors
        .iter()
        .all(|ancestor| ancestor.timeline < timeline);
    (ordered && below).then_some(ancestors)
}

proptest! {
    #[test]
    fn a_file_name_says_its_timeline(number: u32) {
        let path = history_path(Path::new("data"), TimelineId(number));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        prop_assert_eq!(name.len(), "00000001.history".len());
        prop_assert_eq!(timeline_of(name), Some(TimelineId(number)));
    }

    /// PostgreSQL would look for another file than the one that was taken for its timeline's.
    #[test]
    fn only_the_one_name_of_a_timeline_is_taken_for_it(
        name in prop_oneof![
            "[0-9A-Fa-f]{7,9}\\.history",
            "[ +0-]?[0-9A-F]{7}\\.history(\\.ready|\\.partial| )?",
            "[0-9A-F]{8}(\\.|_)?[Hh]istory",
            any::<String>(),
        ],
    ) {
        let is_name = name.len() == "00000001.history".len()
            && name.ends_with(".history")
            && name.chars().take(8).all(|digit| "0123456789ABCDEF".contains(digit));
        prop_assert_eq!(timeline_of(&name).is_some(), is_name);
        if let Some(timeline) = timeline_of(&name) {
            let path = history_path(Path::new("data"), timeline);
            prop_assert_eq!(path, Path::new("data/pg_wal").join(&name));
        }
    }

    #[test]
    fn any_history_is_read_as_it_says_or_refused(number in 0_u32..9, text in any_text()) {
        let timeline = TimelineId(number);
        let parsed = parse_history(timeline, &text).ok();
        prop_assert_eq!(&parsed, &read(timeline, &text));
        if let Some(ancestors) = parsed {
            let again: String = ancestors.iter().map(line).collect();
            prop_assert_eq!(parse_history(timeline, &again).unwrap(), ancestors);
        }
    }

    #[test]
    fn what_increases_is_accepted_above_it(ancestors in any_history()) {
        let text: String = ancestors.iter().map(line).collect();
        let newest = ancestors.last().unwrap().timeline;
        prop_assert_eq!(parse_history(newest.next(), &text).unwrap(), ancestors);
        prop_assert!(parse_history(newest, &text).is_err());
    }

    /// An older end may be what is left of a file, another position never.
    #[test]
    fn a_history_that_was_cut_is_refused_or_a_beginning_of_the_whole(
        ancestors in any_history(),
        cut: Index,
    ) {
        let text: String = ancestors.iter().map(line).collect();
        let cut = &text[..cut.index(text.len())];
        if let Ok(parsed) = parse_history(TimelineId(u32::MAX), cut) {
            prop_assert!(ancestors.starts_with(&parsed), "{parsed:?}");
            prop_assert!(parsed.len() >= cut.matches('\n').count());
        }
    }

    #[test]
    fn swapped_positions_are_refused(low in 0_u64..1 << 40, more in 0_u64..1 << 40) {
        let text = format!("1\t{}\tx\n2\t{}\tx\n", Lsn(low + more), Lsn(low));
        prop_assert!(parse_history(TimelineId(3), &text).is_err());
    }
}
