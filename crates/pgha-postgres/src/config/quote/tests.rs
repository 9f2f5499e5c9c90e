use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

type Quote = fn(&str) -> Result<String, QuoteError>;

const ALL: [Quote; 4] = [quote_setting, quote_literal, quote_identifier, quote_hba];

/// Text that is full of what means something to one of the readers.
fn nasty() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "['\"\\\\$;#,:/*+@=%&!{}() \t-]",
        1 => "''|\"\"|\\\\[bfnrtxu0'\"\\\\]|\\\\[0-7]{3}|--|/\\*|\\*/|\\$\\$|E'|U&'|all|include",
        2 => "[^\\p{Cc}]",
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// Between `quote`s, where two stand for one (manual, 4.1.2.1 "String Constants" and 4.1.1
/// "Identifiers and Key Words"). `None` unless the end of the text is the end of the constant.
fn unquote(text: &str, quote: char) -> Option<String> {
    let mut chars = text.strip_prefix(quote)?.chars();
    let mut value = String::new();
    loop {
        match chars.next()? {
            c if c != quote => value.push(c),
            _ => match chars.next() {
                None => return Some(value),
                Some(second) if second == quote => value.push(quote),
                Some(_) => return None,
            },
        }
    }
}

/// A value of `postgresql.conf` (`GUC_scanstr`): escapes as in C are read there.
fn unquote_setting(text: &str) -> Option<String> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut chars = inner.chars().peekable();
    let mut value = String::new();
    while let Some(c) = chars.next() {
        value.push(match c {
            '\'' => chars.next().filter(|second| *second == '\'')?,
            '\\' => match chars.next()? {
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                first @ '0'..='7' => {
                    let mut code = first.to_digit(8)?;
                    for _ in 1..3 {
                        if let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) {
                            code = code * 8 + digit;
                            chars.next();
                        }
                    }
                    char::from_u32(code)?
                }
                other => other,
            },
            other => other,
        });
    }
    Some(value)
}

/// One word of a line of `pg_hba.conf` or `pg_ident.conf`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Word {
    text: String,
    quoted: bool,
}

fn word(text: &str) -> Word {
    Word {
        text: text.to_owned(),
        quoted: false,
    }
}

/// The fields of a line, each a list (manual, 21.1 "The pg_hba.conf File"): blanks end a field,
/// commas a word, `#` the line, unless they are quoted. Of two quotes within quotes one remains.
fn fields(line: &str) -> Option<Vec<Vec<Word>>> {
    let mut fields = Vec::new();
    let mut chars = line.chars().peekable();
    let mut field: Vec<Word> = Vec::new();
    let mut in_word = false;
    while let Some(c) = chars.next() {
        match c {
            '#' => break,
            ' ' | '\t' => {
                fields.extend(Some(std::mem::take(&mut field)).filter(|words| !words.is_empty()));
                in_word = false;
            }
            ',' => in_word = false,
            c => {
                if !std::mem::replace(&mut in_word, true) {
                    field.push(Word::default());
                }
                let word = field.last_mut()?;
                if c != '"' {
                    word.text.push(c);
                    continue;
                }
                word.quoted = true;
                loop {
                    match chars.next()? {
                        '"' if chars.next_if_eq(&'"').is_none() => break,
                        c => word.text.push(c),
                    }
                }
            }
        }
    }
    fields.extend(Some(field).filter(|words| !words.is_empty()));
    Some(fields)
}

fn fits_one_line(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && c != '\t')
}

proptest! {
    #[test]
    fn what_is_quoted_is_read_back(text in nasty()) {
        let literal = quote_literal(&text).unwrap();
        prop_assert_eq!(unquote(&literal, '\''), Some(text.clone()));
        let identifier = quote_identifier(&text).unwrap();
        prop_assert_eq!(unquote(&identifier, '"'), Some(text.clone()));
        let setting = quote_setting(&text).unwrap();
        prop_assert_eq!(unquote_setting(&setting), Some(text));
    }

    /// Whatever it holds, a name is one field of its line and no keyword, and the others stay.
    #[test]
    fn a_name_is_one_quoted_word_of_its_line(text in nasty()) {
        let Ok(quoted) = quote_hba(&text) else {
            prop_assert!(text.starts_with('/'), "{text:?} is refused");
            return Ok(());
        };
        // A regular expression, quoted or not.
        prop_assert!(!text.starts_with('/'));
        let name = Word { text, quoted: true };
        let line = format!("host all,replication {quoted} all reject");
        let expected = vec![
            vec![word("host")],
            vec![word("all"), word("replication")],
            vec![name],
            vec![word("all")],
            vec![word("reject")],
        ];
        prop_assert_eq!(fields(&line), Some(expected), "{}", line);
    }

    /// None of the formats can say NUL, and of a line break each makes a line of its own.
    #[test]
    fn what_ends_a_line_or_the_text_is_refused(
        mut text in nasty(),
        end in prop_oneof![Just('\0'), Just('\n'), Just('\r')],
        at: Index,
    ) {
        let ends: Vec<_> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        text.insert(*at.get(&ends), end);
        for quote in ALL {
            prop_assert!(quote(&text).is_err());
        }
    }

    #[test]
    fn nothing_is_refused_but_control_characters(text: String) {
        for quote in [quote_setting, quote_literal, quote_identifier] {
            prop_assert_eq!(quote(&text).is_ok(), fits_one_line(&text));
        }
        prop_assert_eq!(quote_hba(&text).is_ok(), fits_one_line(&text) && !text.starts_with('/'));
    }
}
