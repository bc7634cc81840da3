//! Which classes are taken for which.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::output::shown;

/// How often pictures of a class get an answer.
pub struct Confusion<'a> {
    classes: &'a [String],
    /// By label and answer. An answer that is not finite is none.
    counts: BTreeMap<(usize, Option<usize>), usize>,
}

/// How often one class is taken for another, or for itself.
#[derive(Serialize)]
pub struct Cell<'a> {
    label: &'a str,
    answer: Option<&'a str>,
    pictures: usize,
}

/// The most classes of a table that is read by people.
const MOST: usize = 12;
/// The most characters of a name in it.
const NAME: usize = 12;

impl<'a> Confusion<'a> {
    pub fn new(classes: &'a [String], pairs: impl Iterator<Item = (usize, Option<usize>)>) -> Self {
        let mut counts = BTreeMap::new();
        pairs.for_each(|pair| *counts.entry(pair).or_default() += 1);
        Self { classes, counts }
    }

    fn of(&self, label: usize, answer: Option<usize>) -> usize {
        self.counts.get(&(label, answer)).copied().unwrap_or(0)
    }

    /// Whatever was counted, in the order of labels.
    pub fn cells(&self) -> Vec<Cell<'_>> {
        let name = |class: usize| self.classes[class].as_str();
        let cell = |(&(label, answer), &pictures): (&(usize, Option<usize>), &usize)| Cell {
            label: name(label),
            answer: answer.map(name),
            pictures,
        };
        self.counts.iter().map(cell).collect()
    }

    /// The whole table in CSV: a row for each label, and a column for each answer.
    pub fn csv(&self) -> Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let answers: Vec<Option<usize>> = (0..self.classes.len()).map(Some).chain([None]).collect();
        let heading = |answer: &Option<usize>| answer.map_or("not finite", |class| &self.classes[class]);
        csv.write_record(std::iter::once("label/answer").chain(answers.iter().map(heading)))?;
        for (label, name) in self.classes.iter().enumerate() {
            let counts = answers.iter().map(|&answer| self.of(label, answer).to_string());
            csv.write_record(std::iter::once(name.clone()).chain(counts))?;
        }
        Ok(csv.into_inner()?)
    }

    /// The table for people: of all classes, or of those with the most mistakes.
    pub fn text(&self) -> String {
        let (classes, about) = match self.classes.len() {
            0..=MOST => ((0..self.classes.len()).collect(), String::new()),
            all => match self.most_mistaken() {
                none if none.is_empty() => return String::new(),
                classes => {
                    let count = classes.len();
                    (
                        classes,
                        format!(", of the {count} classes of {all} with the most mistakes; --confusion writes all"),
                    )
                }
            },
        };
        let name = |class: usize| shown(&self.classes[class]).chars().take(NAME).collect::<String>();
        let digits = self.counts.values().max().map_or(1, |most| most.to_string().len());
        let width = classes.iter().map(|&class| name(class).chars().count()).max().unwrap_or(0);
        let column = |class: usize| name(class).chars().count().max(digits);
        let mut text = format!("labels in rows, answers in columns{about}:\n{:width$}", "");
        // Writing to a String cannot fail.
        for &answer in &classes {
            let _ = write!(text, " {:>1$}", name(answer), column(answer));
        }
        for &label in &classes {
            let _ = write!(text, "\n{:<width$}", name(label));
            for &answer in &classes {
                let count = match self.of(label, Some(answer)) {
                    0 => ".".into(),
                    count => count.to_string(),
                };
                let _ = write!(text, " {count:>0$}", column(answer));
            }
        }
        text + "\n"
    }

    /// The classes that have mistakes as labels or as answers: those with the most, in their order.
    fn most_mistaken(&self) -> Vec<usize> {
        let mut mistakes: BTreeMap<usize, usize> = BTreeMap::new();
        for (&(label, answer), count) in &self.counts {
            if let Some(answer) = answer.filter(|&answer| answer != label) {
                [label, answer].into_iter().for_each(|class| *mistakes.entry(class).or_default() += count);
            }
        }
        let mut classes: Vec<(usize, usize)> = mistakes.into_iter().collect();
        classes.sort_by_key(|&(class, count)| (std::cmp::Reverse(count), class));
        let mut classes: Vec<usize> = classes.into_iter().take(MOST).map(|(class, _)| class).collect();
        classes.sort_unstable();
        classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("class {class} of some")).collect()
    }

    #[test]
    fn few_classes_have_a_whole_table() {
        let classes = ["cat", "a\u{1b}", "x"].map(String::from);
        let pairs = [(0, Some(0)), (0, Some(0)), (0, Some(1)), (1, Some(1)), (2, None), (1, Some(0))];
        let confusion = Confusion::new(&classes, pairs.into_iter());
        let wanted = [
            "labels in rows, answers in columns:",
            r"        cat a\u{1b} x",
            "cat       2       1 .",
            r"a\u{1b}   1       1 .",
            "x         .       . .",
        ];
        assert_eq!(confusion.text().lines().collect::<Vec<_>>(), wanted);
        let csv = String::from_utf8(confusion.csv().unwrap()).unwrap();
        assert_eq!(csv, "label/answer,cat,a\u{1b},x,not finite\ncat,2,1,0,0\na\u{1b},1,1,0,0\nx,0,0,0,1\n");
        assert_eq!(confusion.cells().iter().map(|cell| cell.pictures).sum::<usize>(), 6);
    }

    #[test]
    fn of_many_classes_those_with_the_most_mistakes_are_shown() {
        let classes = names(1000);
        let right = (0..1000).map(|class| (class, Some(class)));
        assert_eq!(Confusion::new(&classes, right.clone()).text(), "");
        let wrong = (100..120).flat_map(|class| (0..class).map(move |_| (class, Some(class - 90))));
        let confusion = Confusion::new(&classes, right.chain(wrong));
        let text = confusion.text();
        assert!(text.contains("of the 12 classes of 1000 with the most mistakes; --confusion writes all:\n"), "{text}");
        // 119 was taken for 29 so many times, and 113 for 23: those in front of them have fewer.
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(rows.len(), MOST, "{text}");
        assert!(rows[0].starts_with("class 24 of") && rows[MOST - 1].starts_with("class 119 of"), "{text}");
        assert_eq!(confusion.csv().unwrap().iter().filter(|&&byte| byte == b'\n').count(), 1001);
    }
}
