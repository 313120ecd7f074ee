//! What moved each line of usage, and with which commit: columns, to ask the past of.
//!
//! Owns sums over moves up to a commit. Invariant: those are the lines that folding everything up to
//! that commit gives, no more and no fewer. One move stands for all that one commit did to a line, and a
//! segment ends with a commit. A cache: what is kept in no column is folded anew, by who asks.

use super::usage::{FIGURES, Usage, UsageKey};
use std::collections::BTreeMap;
use tallyroll_schema::CommitPosition;

/// Moves of a segment, at least: what has so many is laid out in columns, and grows no more.
const SEGMENT_MOVES: usize = 16 * 1024;

/// What is heard of a view's usage while it folds, if anybody listens. It is on its way, and no part of a
/// view's state: views are equal whatever is heard of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Moved(Option<BTreeMap<UsageKey, Usage>>);

impl PartialEq for Moved {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Moved {}

impl Moved {
    pub(super) fn listen(&mut self) {
        self.0 = Some(BTreeMap::new());
    }

    pub(super) fn hear(&mut self, key: UsageKey, by: &Usage) {
        if let Some(heard) = &mut self.0 {
            heard.entry(key).or_default().add(by);
        }
    }

    pub(super) fn take(&mut self) -> BTreeMap<UsageKey, Usage> {
        self.0.as_mut().map(core::mem::take).unwrap_or_default()
    }
}

/// Moves of usage, in the order of their commits.
#[derive(Debug, Default)]
pub struct Moves {
    /// Every line there is, and its number.
    numbers: BTreeMap<UsageKey, u32>,
    /// By number.
    lines: Vec<UsageKey>,
    segments: Vec<Segment>,
    /// What will be the next segment.
    open: Vec<Move>,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Move {
    commit: CommitPosition,
    line: u32,
    by: [i128; FIGURES],
}

impl Moves {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Lines that were ever moved.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Whether nothing was moved.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds what a commit moved, which comes after all before.
    pub fn push(&mut self, commit: CommitPosition, moved: &BTreeMap<UsageKey, Usage>) {
        for (key, by) in moved {
            let next = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
            let line = *self.numbers.entry(*key).or_insert(next);
            if line == next {
                self.lines.push(*key);
            }
            self.open.push(Move { commit, line, by: by.figures() });
        }
        self.count += moved.len();
        if self.open.len() >= SEGMENT_MOVES {
            self.segments.push(Segment::of(&self.open));
            self.open.clear();
        }
    }

    /// The lines that are wanted, as they stood with a commit.
    pub fn usage(
        &self,
        until: CommitPosition,
        wanted: impl Fn(&UsageKey) -> bool,
    ) -> BTreeMap<UsageKey, Usage> {
        let (mut slots, mut keys) = (Vec::with_capacity(self.lines.len()), Vec::new());
        for key in &self.lines {
            slots.push(wanted(key).then_some(keys.len()));
            keys.extend(slots.last().copied().flatten().map(|_| *key));
        }
        let mut sums = vec![None; keys.len()];
        let slot = |line: u32| slots.get(line as usize).copied().flatten();
        let mut add = |slot: usize, figures: &mut dyn Iterator<Item = i128>| {
            if let Some(sum) = sums.get_mut(slot) {
                let sum = sum.get_or_insert([0; FIGURES]);
                sum.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
            }
        };
        for segment in self.segments.iter().take_while(|segment| segment.first <= until) {
            segment.add_up(until, slot, &mut add);
        }
        for of in self.open.iter().take_while(|of| of.commit <= until) {
            if let Some(slot) = slot(of.line) {
                add(slot, &mut of.by.iter().copied());
            }
        }
        let stood = |(key, sum): (_, Option<_>)| Some((key, Usage::of_figures(sum?)));
        keys.into_iter().zip(sums).filter_map(stood).collect()
    }

    /// Gives up the moments of the older half: of its moves, one stands for each line from now on. Returns the
    /// first commit that can still be asked for.
    pub fn fold_older_half(&mut self) -> CommitPosition {
        let half = self.segments.len() / 2;
        let Some(since) = self.segments.get(half).map(|segment| segment.last) else {
            return CommitPosition::default();
        };
        let stood = self.usage(since, |_| true);
        let numbered = |(key, sum): (&UsageKey, &Usage)| {
            let line = self.numbers.get(key).copied()?;
            Some(Move { commit: since, line, by: sum.figures() })
        };
        let folded = Segment::of(&stood.iter().filter_map(numbered).collect::<Vec<_>>());
        self.segments.splice(..=half, [folded]);
        let sealed = self.segments.iter().map(|segment| segment.lines.len());
        self.count = sealed.sum::<usize>() + self.open.len();
        since
    }
}

/// Moves that will not change any more.
#[derive(Debug)]
struct Segment {
    first: CommitPosition,
    last: CommitPosition,
    /// Each commit, and how many moves there are up to its end.
    ends: Vec<(CommitPosition, usize)>,
    lines: Vec<u32>,
    figures: [Column; FIGURES],
}

impl Segment {
    fn of(moves: &[Move]) -> Self {
        let mut ends: Vec<(CommitPosition, usize)> = Vec::new();
        for (end, of) in (1..).zip(moves) {
            match ends.last_mut() {
                Some((commit, last)) if *commit == of.commit => *last = end,
                _ => ends.push((of.commit, end)),
            }
        }
        let at = |place: Option<&Move>| place.map_or_else(CommitPosition::default, |of| of.commit);
        let column = |figure: usize| {
            Column::of(moves.iter().map(move |of| of.by.get(figure).copied().unwrap_or_default()))
        };
        Self {
            first: at(moves.first()),
            last: at(moves.last()),
            ends,
            lines: moves.iter().map(|of| of.line).collect(),
            figures: core::array::from_fn(column),
        }
    }

    /// How many of its moves are of commits up to one.
    fn until(&self, until: CommitPosition) -> usize {
        let after = self.ends.partition_point(|(commit, _)| *commit <= until);
        after.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |(_, end)| *end)
    }

    fn add_up(
        &self,
        until: CommitPosition,
        slot: impl Fn(u32) -> Option<usize>,
        add: &mut impl FnMut(usize, &mut dyn Iterator<Item = i128>),
    ) {
        for (at, line) in self.lines.iter().take(self.until(until)).enumerate() {
            if let Some(slot) = slot(*line) {
                add(slot, &mut self.figures.iter().map(|column| column.get(at)));
            }
        }
    }
}

/// One figure of each move, as narrow as all of them fit in.
#[derive(Debug)]
enum Column {
    Zero,
    Short(Vec<i16>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Wide(Vec<i128>),
}

impl Column {
    fn of(figures: impl Iterator<Item = i128> + Clone) -> Self {
        fn narrow<T: TryFrom<i128>>(figures: impl Iterator<Item = i128>) -> Option<Vec<T>> {
            figures.map(|figure| T::try_from(figure).ok()).collect()
        }
        if figures.clone().all(|figure| figure == 0) {
            return Self::Zero;
        }
        narrow(figures.clone())
            .map(Self::Short)
            .or_else(|| narrow(figures.clone()).map(Self::Int))
            .or_else(|| narrow(figures.clone()).map(Self::Long))
            .unwrap_or_else(|| Self::Wide(figures.collect()))
    }

    fn get(&self, at: usize) -> i128 {
        match self {
            Self::Zero => 0,
            Self::Short(figures) => figures.get(at).copied().map_or(0, i128::from),
            Self::Int(figures) => figures.get(at).copied().map_or(0, i128::from),
            Self::Long(figures) => figures.get(at).copied().map_or(0, i128::from),
            Self::Wide(figures) => figures.get(at).copied().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{DeviceId, UserAlias};

    fn key(user: u8) -> UsageKey {
        UsageKey { device: DeviceId([1; 16]), user: UserAlias([user; 16]), month: 24_322 }
    }

    fn at(index: u64) -> CommitPosition {
        CommitPosition { epoch: 1, index }
    }

    /// Commits of a few lines each, one line among them untouched in its figures, and the sums as a
    /// ledger clerk would keep them.
    fn moved(commits: u64) -> (Moves, Vec<BTreeMap<UsageKey, Usage>>) {
        let (mut moves, mut stood) = (Moves::default(), vec![BTreeMap::new()]);
        for index in 1..=commits {
            let line = |user: u8| {
                let charged = i128::from(index) * if index % 5 == 0 { -1_000_000 } else { 7 };
                let wide = if index == 77 { 1 << 80 } else { 0 };
                let impressions = index * u64::from(user);
                (key(user), Usage { impressions, charged, held: wide, ..Usage::default() })
            };
            let many = u8::try_from(index % 4).unwrap();
            let mut moved: BTreeMap<_, _> = (0..many).map(line).collect();
            moved.insert(key(200 - u8::try_from(index % 3).unwrap()), Usage::default());
            moves.push(at(index), &moved);
            let mut now: BTreeMap<UsageKey, Usage> = stood.last().unwrap().clone();
            for (key, by) in &moved {
                now.entry(*key).or_default().add(by);
            }
            stood.push(now);
        }
        (moves, stood)
    }

    #[test]
    fn every_moment_of_the_past_is_what_it_was() {
        let commits = 20_000;
        let (moves, stood) = moved(commits);
        assert!(moves.segments.len() > 2, "more than one segment, and an open one");
        for index in (0..=commits).step_by(617).chain([1, 76, 77, 78, commits]) {
            let then = &stood[usize::try_from(index).unwrap()];
            assert_eq!(&moves.usage(at(index), |_| true), then, "{index}");
            let one = moves.usage(at(index), |line| line.user == key(1).user);
            assert_eq!(one.get(&key(1)), then.get(&key(1)), "{index}");
            assert!(one.len() <= 1);
        }
        assert_eq!(&moves.usage(at(commits + 9), |_| true), stood.last().unwrap());
    }

    #[test]
    fn the_older_half_is_given_up_and_the_rest_stays_as_it_was() {
        let commits = 30_000;
        let (mut moves, stood) = moved(commits);
        let before = moves.len();
        let since = moves.fold_older_half();
        assert!(since > at(commits / 3) && since < at(commits), "{since}");
        assert!(moves.len() < before * 3 / 4);
        for index in (since.index..=commits).step_by(617).chain([commits]) {
            let then = &stood[usize::try_from(index).unwrap()];
            assert_eq!(&moves.usage(at(index), |_| true), then, "{index}");
        }
        let (mut few, stood) = moved(3);
        assert_eq!(few.fold_older_half(), CommitPosition::default(), "there is no older half");
        assert_eq!(&few.usage(at(3), |_| true), stood.last().unwrap());
    }

    #[test]
    fn a_column_is_as_narrow_as_its_figures() {
        let of = |figures: &[i128]| Column::of(figures.iter().copied());
        let long = i128::from(i64::MIN);
        assert!(matches!(of(&[0, 0]), Column::Zero));
        assert!(matches!(of(&[-32_768, 32_767]), Column::Short(_)));
        assert!(matches!(of(&[0, 32_768]), Column::Int(_)));
        assert!(matches!(of(&[1 << 31, 0]), Column::Long(_)));
        assert!(matches!(of(&[long - 1, 0]), Column::Wide(_)));
        for figures in [[0, 0], [-32_768, 32_767], [0, 32_768], [1 << 31, 0], [long - 1, 5]] {
            assert_eq!([of(&figures).get(0), of(&figures).get(1)], figures);
        }
    }
}
