//! Runs a program: workgroup by workgroup, and of each the threads one after the other, from barrier to barrier.

use std::collections::BTreeMap;

use naga::BuiltIn;

use super::arithmetic::{self, Slot, float, of_float};
use super::layout::Kind;
use super::memory::{Bound, Buffer, By, Shared, Touched};
use super::program::{At, Index, Length, Matrix, Op, Place, Program, Space};

/// The steps that a workgroup may take: many times what any has to.
const MOST_STEPS: u64 = 1 << 31;

/// In which order workgroups run, and threads from barrier to barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Forward,
    Backward,
}

/// The threads of a subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subgroups {
    pub size: u32,
    /// Adjacent threads are in different subgroups, which WGSL allows.
    pub interleaved: bool,
}

/// A workgroup that cannot go on.
struct Stuck;

struct Thread {
    slots: Vec<Slot>,
    next: usize,
    /// Where the functions that have called others go on.
    callers: Vec<usize>,
    stopped: Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Barrier,
    Matrix,
    End,
}

pub struct Machine<'a> {
    program: &'a Program,
    subgroups: Subgroups,
    shared: Shared<'a>,
    by: By,
    /// The barriers that the workgroup has passed for its own memory, and for storage.
    barriers: [u32; 2],
    /// What is wrong, each at the first step that showed it.
    faults: BTreeMap<(usize, &'static str), String>,
    /// Numbers what subgroups do together.
    together: u32,
    steps: u64,
}

impl<'a> Machine<'a> {
    pub fn new(program: &'a Program, subgroups: Subgroups, buffers: &'a mut [Buffer], bound: &[Bound]) -> Self {
        let find = |number| bound.iter().find(|bound: &&Bound| bound.number == number).copied();
        let bound: Vec<Bound> =
            program.bindings.iter().map(|binding| find(binding.number).expect("a range for each binding")).collect();
        let touched = program.bindings.iter().zip(&bound).map(|(binding, bound)| {
            let units = if binding.written { bound.bytes.div_ceil(binding.unit as usize) } else { 0 };
            vec![Touched::NEVER; units]
        });
        let touched = touched.collect();
        let (workgroup, touched_in_workgroup) = (Vec::new(), Vec::new());
        let mut machine = Self {
            program,
            subgroups,
            shared: Shared { buffers, bound, touched, workgroup, touched_in_workgroup },
            by: By { workgroup: 0, thread: 0, barriers: 0 },
            barriers: [0; 2],
            faults: BTreeMap::new(),
            together: 0,
            steps: 0,
        };
        for (binding, bound) in program.bindings.iter().zip(machine.shared.bound.clone()) {
            if bound.bytes < binding.least as usize {
                let text = format!("{} has {} bytes of {}", binding.name, bound.bytes, binding.least);
                machine.faults.insert((0, "binding"), text);
            }
        }
        machine
    }

    /// Runs a dispatch, and returns what is wrong with it.
    pub fn dispatch(mut self, workgroups: [u32; 3], order: Order) -> Vec<String> {
        let count = workgroups.iter().product::<u32>();
        let thread = |_| Thread { slots: self.program.slots.clone(), next: 0, callers: Vec::new(), stopped: Stop::End };
        let mut threads: Vec<Thread> = (0..self.program.threads).map(thread).collect();
        for i in in_order(count, order) {
            if self.workgroup(i, workgroups, &mut threads, order).is_err() {
                break;
            }
        }
        let program = self.program;
        let source: Vec<&str> = program.source.lines().collect();
        let text = |((at, kind), text): ((usize, &'static str), String)| {
            let line = program.lines.get(at).copied().unwrap_or_default() as usize;
            format!("{kind}: {text}, in line {line}: {}", source.get(line.wrapping_sub(1)).unwrap_or(&"").trim())
        };
        self.faults.into_iter().map(text).collect()
    }

    fn workgroup(
        &mut self,
        number: u32,
        workgroups: [u32; 3],
        threads: &mut [Thread],
        order: Order,
    ) -> Result<(), Stuck> {
        self.by = By { workgroup: number, thread: 0, barriers: 0 };
        self.steps = 0;
        // All ones is a NaN.
        self.shared.workgroup.clear();
        self.shared.workgroup.resize(self.program.workgroup_slots as usize, u32::MAX.into());
        self.shared.touched_in_workgroup.clear();
        self.shared.touched_in_workgroup.resize(self.program.workgroup_slots as usize, Touched::NEVER);
        for (local, thread) in (0..).zip(threads.iter_mut()) {
            self.start(local, number, workgroups, thread);
        }
        loop {
            for thread in in_order(threads.len() as u32, order) {
                self.by.thread = thread;
                self.run(&mut threads[thread as usize])?;
            }
            while self.matrices(threads)? {
                for thread in in_order(threads.len() as u32, order) {
                    if threads[thread as usize].stopped == Stop::Matrix {
                        self.by.thread = thread;
                        self.run(&mut threads[thread as usize])?;
                    }
                }
            }
            if threads.iter().all(|thread| thread.stopped == Stop::End) {
                return Ok(());
            }
            let at = threads.iter().map(|thread| thread.next).min().unwrap_or_default();
            if !all_same(threads.iter()) {
                self.fault(at, "barrier", "not all threads of the workgroup meet here".into());
                return Err(Stuck);
            }
            let Op::Barrier { workgroup, storage } = self.program.ops[at] else { unreachable!("a barrier") };
            self.barriers[0] += u32::from(workgroup);
            self.barriers[1] += u32::from(storage);
            threads.iter_mut().for_each(|thread| thread.next += 1);
        }
    }

    fn start(&self, local: u32, number: u32, workgroups: [u32; 3], thread: &mut Thread) {
        let program = self.program;
        thread.next = program.entry;
        for range in &program.private {
            thread.slots[range.clone()].copy_from_slice(&program.slots[range.clone()]);
        }
        let [x, y, _] = workgroups;
        let id = [number % x, number / x % y, number / x / y];
        let Subgroups { size, interleaved } = self.subgroups;
        let subgroups = program.threads.div_ceil(size);
        let [lane, subgroup] =
            if interleaved { [local / subgroups, local % subgroups] } else { [local % size, local / size] };
        for &(builtin, at) in &program.builtins {
            let value: &[u32] = match builtin {
                BuiltIn::LocalInvocationIndex => &[local],
                BuiltIn::LocalInvocationId => &[local, 0, 0],
                BuiltIn::GlobalInvocationId => &[id[0] * program.threads + local, id[1], id[2]],
                BuiltIn::WorkGroupId => &id,
                BuiltIn::NumWorkGroups => &workgroups,
                BuiltIn::NumSubgroups => &[subgroups],
                BuiltIn::SubgroupId => &[subgroup],
                BuiltIn::SubgroupSize => &[size],
                BuiltIn::SubgroupInvocationId => &[lane],
                other => panic!("{other:?} is not known"),
            };
            for (slot, &value) in thread.slots[at as usize..].iter_mut().zip(value) {
                *slot = value.into();
            }
        }
    }

    /// A fault of arithmetic, and what the step then computes.
    #[cold]
    fn undefined(&mut self, at: usize, operands: &[Slot]) -> Slot {
        self.fault(at, "arithmetic", format!("of {operands:x?}"));
        0
    }

    fn fault(&mut self, at: usize, kind: &'static str, text: String) {
        self.faults.entry((at, kind)).or_insert(text);
    }

    /// Runs a thread to the next barrier, to something that its subgroup does together, or to its end.
    fn run(&mut self, thread: &mut Thread) -> Result<(), Stuck> {
        let program = self.program;
        loop {
            let at = thread.next;
            self.steps += 1;
            if self.steps > MOST_STEPS {
                self.fault(at, "steps", "a workgroup does not end".into());
                return Err(Stuck);
            }
            let slots = &mut thread.slots;
            match program.ops[at] {
                Op::Copy { to, from, count } => copy(slots, to, from, count),
                Op::Fill { to, from, count } => {
                    let value = slots[from as usize];
                    slots[to as usize..(to + count) as usize].fill(value);
                }
                Op::Binary { apply, to, operands: [left, right], steps, count } => {
                    let mut i = 0;
                    while i < count {
                        let (left, right) =
                            (slots[(left + i * steps[0]) as usize], slots[(right + i * steps[1]) as usize]);
                        slots[(to + i) as usize] = match apply(left, right) {
                            Some(value) => value,
                            None => self.undefined(at, &[left, right]),
                        };
                        i += 1;
                    }
                }
                Op::Unary { apply, to, from, count } => {
                    let mut i = 0;
                    while i < count {
                        let operand = slots[(from + i) as usize];
                        slots[(to + i) as usize] = match apply(operand) {
                            Some(value) => value,
                            None => self.undefined(at, &[operand]),
                        };
                        i += 1;
                    }
                }
                Op::Math { apply, to, arguments: [a, b, c], count } => {
                    let mut i = 0;
                    while i < count {
                        let arguments = [slots[(a + i) as usize], slots[(b + i) as usize], slots[(c + i) as usize]];
                        slots[(to + i) as usize] = apply(arguments);
                        i += 1;
                    }
                }
                Op::Dot { multiply, add, to, operands: [left, right], count } => {
                    let products =
                        (0..count).map(|i| multiply(slots[(left + i) as usize], slots[(right + i) as usize]));
                    let sum = products.flatten().reduce(|sum, product| add(sum, product).unwrap_or_default());
                    slots[to as usize] = sum.unwrap_or_default();
                }
                Op::Select { to, condition, step, accept, reject, count } => {
                    let mut i = 0;
                    while i < count {
                        let from = if slots[(condition + i * step) as usize] != 0 { accept } else { reject };
                        slots[(to + i) as usize] = slots[(from + i) as usize];
                        i += 1;
                    }
                }
                Op::All { to, from, count } => {
                    slots[to as usize] = (0..count).all(|i| slots[(from + i) as usize] != 0).into();
                }
                Op::Any { to, from, count } => {
                    slots[to as usize] = (0..count).any(|i| slots[(from + i) as usize] != 0).into();
                }
                Op::Unpack { to, from } => {
                    let values = arithmetic::unpacked(slots[from as usize]);
                    slots[to as usize..to as usize + 2].copy_from_slice(&values);
                }
                Op::Pack { to, from } => {
                    slots[to as usize] = arithmetic::packed([slots[from as usize], slots[from as usize + 1]]);
                }
                Op::Load { to, place } => self.load(at, slots, to, &program.places[place]),
                Op::Store { place, from } => self.store(at, slots, &program.places[place], from),
                Op::Point { to, place } => {
                    slots[to as usize] = self.find(at, slots, &program.places[place]).unwrap_or(0).into();
                }
                Op::Length { to, place } => {
                    let place = &program.places[place];
                    let index = place.indices.last().expect("an array");
                    slots[to as usize] = self.length(place, index).into();
                }
                Op::Jump(to) => {
                    thread.next = to;
                    continue;
                }
                Op::JumpUnless { condition, to } => {
                    if slots[condition as usize] == 0 {
                        thread.next = to;
                        continue;
                    }
                }
                Op::Call(entry) => {
                    thread.callers.push(at + 1);
                    thread.next = entry;
                    continue;
                }
                Op::Return => match thread.callers.pop() {
                    Some(caller) => {
                        thread.next = caller;
                        continue;
                    }
                    None => {
                        thread.stopped = Stop::End;
                        return Ok(());
                    }
                },
                Op::Barrier { .. } => {
                    thread.stopped = Stop::Barrier;
                    return Ok(());
                }
                Op::Matrix(_) => {
                    thread.stopped = Stop::Matrix;
                    return Ok(());
                }
            }
            thread.next += 1;
        }
    }

    /// Elements of the array that an index is of.
    fn length(&self, place: &Place, index: &Index) -> u32 {
        match (index.length, place.space) {
            (Length::Fixed(length), _) => length,
            (Length::Rest(from), Space::Buffer(binding)) => {
                (self.shared.bound[binding].bytes as u32 - from) / index.step
            }
            _ => panic!("only buffers have arrays without a length"),
        }
    }

    /// The slot or the byte at which a place begins. `None`, and a fault, if an index is outside of its array.
    fn find(&mut self, at: usize, slots: &[Slot], place: &Place) -> Option<u32> {
        let mut first = place.first;
        if let Some(pointer) = place.pointer {
            first += slots[pointer as usize] as u32;
        }
        let mut i = 0;
        while i < place.indices.len() {
            let index = &place.indices[i];
            i += 1;
            let value = slots[index.at as usize];
            let length = self.length(place, index);
            if value < 0 || value >= i64::from(length) {
                if value as u32 >= length {
                    self.fault(at, "bounds", format!("index {} of {length}{}", value as u32, self.named(place)));
                    return None;
                }
                self.fault(at, "wrapped index", format!("{value} becomes {}", value as u32));
            }
            first += value as u32 * index.step;
        }
        Some(first)
    }

    fn named(&self, place: &Place) -> String {
        match place.space {
            Space::Own => String::new(),
            Space::Workgroup => " in workgroup memory".into(),
            Space::Buffer(binding) => format!(" in {}", self.program.bindings[binding].name),
        }
    }

    fn load(&mut self, at: usize, slots: &mut [Slot], to: At, place: &Place) {
        let Some(first) = self.find(at, slots, place) else {
            slots[to as usize..(to + place.slots) as usize].fill(0);
            return;
        };
        match place.space {
            Space::Own => copy(slots, to, first, place.slots),
            Space::Workgroup => {
                for i in 0..place.slots {
                    slots[(to + i) as usize] = self.read_workgroup(at, first + i);
                }
            }
            Space::Buffer(binding) => {
                for (i, &(offset, kind)) in (to as usize..).zip(&place.scalars) {
                    slots[i] = self.read_buffer(at, binding, first + offset, kind);
                }
            }
        }
    }

    fn store(&mut self, at: usize, slots: &mut [Slot], place: &Place, from: At) {
        let Some(first) = self.find(at, slots, place) else { return };
        match place.space {
            Space::Own => copy(slots, first, from, place.slots),
            Space::Workgroup => {
                for i in 0..place.slots {
                    self.write_workgroup(at, first + i, slots[(from + i) as usize]);
                }
            }
            Space::Buffer(binding) => {
                for (i, &(offset, kind)) in (from as usize..).zip(&place.scalars) {
                    self.write_buffer(at, binding, first + offset, kind, slots[i]);
                }
            }
        }
    }

    fn read_workgroup(&mut self, at: usize, slot: u32) -> Slot {
        let by = By { barriers: self.barriers[0], ..self.by };
        let touched = &mut self.shared.touched_in_workgroup[slot as usize];
        let is_written = touched.is_written();
        if let Some(race) = touched.read(by) {
            self.fault(at, "race", format!("{race} in workgroup memory"));
        }
        if !is_written {
            self.fault(at, "unset", format!("workgroup memory at scalar {slot}"));
        }
        self.shared.workgroup[slot as usize]
    }

    fn write_workgroup(&mut self, at: usize, slot: u32, value: Slot) {
        let by = By { barriers: self.barriers[0], ..self.by };
        if let Some(race) = self.shared.touched_in_workgroup[slot as usize].write(by) {
            self.fault(at, "race", format!("{race} in workgroup memory"));
        }
        self.shared.workgroup[slot as usize] = value;
    }

    fn read_buffer(&mut self, at: usize, binding: usize, byte: u32, kind: Kind) -> Slot {
        let bound = self.shared.bound[binding];
        let Some(range) = self.bytes_of(at, binding, byte, kind) else { return 0 };
        if self.program.bindings[binding].written {
            self.touch(at, binding, byte, kind, Touched::read);
        }
        let buffer = &self.shared.buffers[bound.buffer];
        let value = arithmetic::decode(&buffer.bytes[range.clone()], kind);
        if !buffer.known[range].iter().all(|&known| known) {
            let name = &self.program.bindings[binding].name;
            self.fault(at, "unset", format!("{name} at byte {byte}"));
        }
        value
    }

    fn write_buffer(&mut self, at: usize, binding: usize, byte: u32, kind: Kind, value: Slot) {
        let bound = self.shared.bound[binding];
        let Some(range) = self.bytes_of(at, binding, byte, kind) else { return };
        self.touch(at, binding, byte, kind, Touched::write);
        let bytes = arithmetic::encode(value, kind);
        let buffer = &mut self.shared.buffers[bound.buffer];
        buffer.known[range.clone()].fill(true);
        let width = range.len();
        buffer.bytes[range].copy_from_slice(&bytes[..width]);
    }

    /// The bytes of a scalar in its buffer. `None`, and a fault, if they are not all bound.
    fn bytes_of(&mut self, at: usize, binding: usize, byte: u32, kind: Kind) -> Option<std::ops::Range<usize>> {
        let bound = self.shared.bound[binding];
        let end = byte as usize + kind.width() as usize;
        if end > bound.bytes {
            let name = &self.program.bindings[binding].name;
            self.fault(at, "bounds", format!("byte {byte} of {} in {name}", bound.bytes));
            return None;
        }
        Some(bound.offset + byte as usize..bound.offset + end)
    }

    fn touch(
        &mut self,
        at: usize,
        binding: usize,
        byte: u32,
        kind: Kind,
        touch: fn(&mut Touched, By) -> Option<String>,
    ) {
        let by = By { barriers: self.barriers[1], ..self.by };
        let unit = self.program.bindings[binding].unit;
        for i in byte / unit..(byte + kind.width()).div_ceil(unit) {
            if let Some(race) = touch(&mut self.shared.touched[binding][i as usize], by) {
                self.fault(at, "race", format!("{race} in {}", self.program.bindings[binding].name));
            }
        }
    }

    /// Lets each subgroup do what all its threads wait for. Returns whether any did.
    fn matrices(&mut self, threads: &mut [Thread]) -> Result<bool, Stuck> {
        let mut any = false;
        let Subgroups { size, interleaved } = self.subgroups;
        let count = threads.len() as u32 / size;
        for subgroup in 0..count {
            let member =
                |lane: u32| (if interleaved { lane * count + subgroup } else { subgroup * size + lane }) as usize;
            let members: Vec<usize> = (0..size).map(member).collect();
            if !members.iter().any(|&i| threads[i].stopped == Stop::Matrix) {
                continue;
            }
            let at = threads[members[0]].next;
            if !all_same(members.iter().map(|&i| &threads[i])) {
                self.fault(at, "subgroup", "not all threads of the subgroup take part".into());
                return Err(Stuck);
            }
            let Op::Matrix(matrix) = self.program.ops[at] else { unreachable!("something of a subgroup") };
            // Which of its threads does what is not known.
            self.by.thread = self.program.threads + self.together;
            self.together += 1;
            self.matrix(at, threads, &members, matrix);
            members.iter().for_each(|&i| threads[i].next += 1);
            any = true;
        }
        Ok(any)
    }

    fn matrix(&mut self, at: usize, threads: &mut [Thread], members: &[usize], matrix: Matrix) {
        let lanes = members.len();
        // Element i is that of a thread in turn.
        let of = |i: u32| (members[i as usize % lanes], i as usize / lanes);
        match matrix {
            Matrix::Load { to, place, stride, by_rows, side } => {
                for i in 0..side * side {
                    let found = self.element(at, threads, members, place, stride, line(i, side, by_rows));
                    let value = match (found, self.program.places[place].space) {
                        (Some(at_slot), Space::Workgroup) => self.read_workgroup(at, at_slot),
                        (Some(byte), Space::Buffer(binding)) => {
                            let kind = self.program.places[place].scalars[0].1;
                            self.read_buffer(at, binding, byte, kind)
                        }
                        _ => 0,
                    };
                    let (thread, slot) = of(i);
                    threads[thread].slots[to as usize + slot] = value;
                }
            }
            Matrix::Store { from, place, stride, by_rows, side } => {
                for i in 0..side * side {
                    let (thread, slot) = of(i);
                    let value = threads[thread].slots[from as usize + slot];
                    let found = self.element(at, threads, members, place, stride, line(i, side, by_rows));
                    match (found, self.program.places[place].space) {
                        (Some(slot), Space::Workgroup) => self.write_workgroup(at, slot, value),
                        (Some(byte), Space::Buffer(binding)) => {
                            let kind = self.program.places[place].scalars[0].1;
                            self.write_buffer(at, binding, byte, kind, value);
                        }
                        _ => {}
                    }
                }
            }
            Matrix::MultiplyAdd { to, factors, added, side, sums } => {
                let whole = |first: At| -> Vec<f32> {
                    let value = |(thread, slot): (usize, usize)| float(threads[thread].slots[first as usize + slot]);
                    (0..side * side).map(|i| value(of(i))).collect()
                };
                let ([left, right], added) = (factors.map(whole), whole(added));
                let side = side as usize;
                for (i, added) in (0u32..).zip(added) {
                    let (row, col) = (i as usize / side, i as usize % side);
                    let sum: f32 = (0..side).map(|k| left[row * side + k] * right[k * side + col]).sum::<f32>() + added;
                    let sum = if sums == Kind::F16 { half::f16::from_f32(sum).to_f32() } else { sum };
                    let (thread, slot) = of(i);
                    threads[thread].slots[to as usize + slot] = of_float(sum);
                }
            }
        }
    }

    /// The slot or the byte of an element of a matrix, which lies `across` behind the begin of its line.
    fn element(
        &mut self,
        at: usize,
        threads: &[Thread],
        members: &[usize],
        place: usize,
        stride: At,
        [down, across]: [u32; 2],
    ) -> Option<u32> {
        let place = &self.program.places[place];
        let (index, others) = place.indices.split_last().expect("an element of an array");
        let operands = |thread: &Thread| {
            let indices: Vec<Slot> = place.indices.iter().map(|index| thread.slots[index.at as usize]).collect();
            (indices, thread.slots[stride as usize])
        };
        let first = operands(&threads[members[0]]);
        if members.iter().any(|&i| operands(&threads[i]) != first) {
            self.fault(at, "subgroup", "threads have other places".into());
        }
        let slots = &threads[members[0]].slots;
        let (begin, stride) = (slots[index.at as usize], first.1);
        // Vulkan wants multiples of 16 bytes: VUID-RuntimeSpirv-OpCooperativeMatrixLoadKHR-08986.
        let width = match place.space {
            Space::Buffer(_) => index.step,
            _ => place.scalars.first().map_or(4, |(_, kind)| kind.width()),
        };
        if (begin | stride) * i64::from(width) % 16 != 0 {
            self.fault(at, "alignment", format!("element {begin}, stride {stride}"));
        }
        let length = self.length(place, index);
        let value = begin + i64::from(down) * stride + i64::from(across);
        if !(0..i64::from(length)).contains(&value) {
            self.fault(at, "bounds", format!("element {value} of {length}{} for a matrix", self.named(place)));
            return None;
        }
        let base = Place { indices: others.to_vec(), ..place.clone() };
        let base = self.find(at, slots, &base)?;
        Some(base + value as u32 * index.step)
    }
}

// In builds for debugging, loops over ranges and copies of slices take several times as long as this.
fn copy(slots: &mut [Slot], to: At, from: At, count: u32) {
    let mut i = 0;
    while i < count {
        slots[(to + i) as usize] = slots[(from + i) as usize];
        i += 1;
    }
}

/// Line, and place in it, of an element.
fn line(i: u32, side: u32, by_rows: bool) -> [u32; 2] {
    if by_rows { [i / side, i % side] } else { [i % side, i / side] }
}

/// Whether threads wait for one another at the same place.
fn all_same<'t>(mut threads: impl Iterator<Item = &'t Thread>) -> bool {
    let Some(first) = threads.next() else { return true };
    threads.all(|thread| {
        thread.stopped == first.stopped
            && (thread.stopped == Stop::End || (thread.next == first.next && thread.callers == first.callers))
    })
}

fn in_order(count: u32, order: Order) -> impl Iterator<Item = u32> {
    (0..count).map(move |i| if order == Order::Forward { i } else { count - 1 - i })
}
