//! Names with fields: `layer{n}.{i}.conv{k}` matches `layer2.0.conv1`, and `L{n+1}_B{i+1:02}` is then `L3_B01`.

/// What the fields of a name are.
pub(super) type Fields = Vec<(&'static str, String)>;

/// The fields with which `pattern` gives `name`. `{name}` alone is any name. Any other field is a number.
pub(super) fn capture(pattern: &'static str, name: &str) -> Option<Fields> {
    if pattern == "{name}" {
        return Some(vec![("name", name.into())]);
    }
    let (mut pattern, mut name) = (pattern, name);
    let mut fields = Fields::new();
    while let Some((literal, rest)) = pattern.split_once('{') {
        name = name.strip_prefix(literal)?;
        let (field, rest) = rest.split_once('}')?;
        let digits = name.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = name.split_at_checked(digits).filter(|(number, _)| !number.is_empty())?;
        fields.push((field, number.into()));
        (pattern, name) = (rest, behind);
    }
    (pattern == name).then_some(fields)
}

/// The name that `template` gives. A field may add to its number or subtract from it, and `:02` fills it up to two digits.
pub(super) fn fill(template: &str, fields: &Fields) -> Option<String> {
    let mut name = String::new();
    let mut rest = template;
    while let Some((literal, behind)) = rest.split_once('{') {
        name += literal;
        let (field, behind) = behind.split_once('}')?;
        let (field, two_digits) = field.strip_suffix(":02").map_or((field, false), |field| (field, true));
        let (field, offset) = match field.find(['+', '-']) {
            Some(at) => (&field[..at], field[at..].parse::<i64>().ok()?),
            None => (field, 0),
        };
        let value = &fields.iter().find(|(name, _)| *name == field)?.1;
        if offset == 0 && !two_digits {
            name += value;
        } else {
            let number = value.parse::<i64>().ok()?.checked_add(offset)?;
            name += &if two_digits { format!("{number:02}") } else { number.to_string() };
        }
        rest = behind;
    }
    Some(name + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_and_put_together() {
        let fields = capture("layer{n}.{i}.conv{k}", "layer2.10.conv3").unwrap();
        assert_eq!(fill("L{n+1}_B{i+1:02}_conv{k}", &fields).unwrap(), "L3_B11_conv3");
        assert_eq!(fill("body.{k-1}", &fields).unwrap(), "body.2");
        assert_eq!(fill("{i:02}|{k:02}", &fields).unwrap(), "10|03");
        assert_eq!(fill("{x}", &fields), None);
        for name in ["layer2.10.conv", "layer2.10.conv3.x", "xlayer2.10.conv3", "layer2.a.conv3", ""] {
            assert_eq!(capture("layer{n}.{i}.conv{k}", name), None, "{name}");
        }
        assert_eq!(fill("{name}.w", &capture("{name}", "any").unwrap()).unwrap(), "any.w");
        // A number that no arithmetic holds is no name.
        let fields = capture("b{i}", "b99999999999999999999").unwrap();
        assert_eq!((fill("{i}", &fields).is_some(), fill("{i+1}", &fields)), (true, None));
    }
}
