//! What WGSL computes with scalars. A slot holds
//! - a bool as 0 or 1;
//! - an integer of 32 bits as the exact number that sums, differences and products would have without wrapping, of which the
//!   lowest 32 bits are WGSL's value. So an index that has wrapped shows. All else goes by WGSL's value;
//! - an integer of 64 bits as its bits;
//! - a float as the bits of an f32, rounded to f16 where it is one.

use half::f16;
use naga::{BinaryOperator, MathFunction, ScalarKind, UnaryOperator};

use super::layout::Kind;

/// A scalar.
pub type Slot = i64;

pub fn float(slot: Slot) -> f32 {
    f32::from_bits(slot as u32)
}

pub fn of_float(value: f32) -> Slot {
    value.to_bits().into()
}

fn of_half(value: f32) -> Slot {
    of_float(f16::from_f32(value).to_f32())
}

fn unsigned(slot: Slot) -> u32 {
    slot as u32
}

fn signed(slot: Slot) -> i32 {
    slot as i32
}

/// A scalar out of the bytes of a buffer.
pub fn decode(bytes: &[u8], kind: Kind) -> Slot {
    let word = || u32::from_le_bytes(bytes[..4].try_into().unwrap());
    match kind {
        Kind::Bool | Kind::U32 | Kind::F32 => word().into(),
        Kind::I32 => (word() as i32).into(),
        Kind::U64 => i64::from_le_bytes(bytes[..8].try_into().unwrap()),
        Kind::F16 => of_float(f16::from_le_bytes(bytes[..2].try_into().unwrap()).to_f32()),
    }
}

/// The bytes of a scalar.
pub fn encode(slot: Slot, kind: Kind) -> [u8; 8] {
    match kind {
        Kind::F16 => u64::from(f16::from_f32(float(slot)).to_bits()).to_le_bytes(),
        Kind::U64 => slot.to_le_bytes(),
        _ => u64::from(slot as u32).to_le_bytes(),
    }
}

/// `None`: WGSL says nothing, or the project promises that it does not happen.
pub type Binary = fn(Slot, Slot) -> Option<Slot>;

pub fn binary(op: BinaryOperator, kind: Kind) -> Binary {
    use BinaryOperator as Op;
    macro_rules! floats {
        ($($op:ident $sign:tt),*; $($compare:ident $than:tt),*) => {
            match (op, kind) {
                $((Op::$op, Kind::F32) => |a, b| Some(of_float(float(a) $sign float(b))),
                (Op::$op, Kind::F16) => |a, b| Some(of_half(float(a) $sign float(b))),)*
                $((Op::$compare, Kind::F32 | Kind::F16) => |a, b| Some((float(a) $than float(b)).into()),
                (Op::$compare, Kind::U32 | Kind::Bool) => |a, b| Some((unsigned(a) $than unsigned(b)).into()),
                (Op::$compare, Kind::I32) => |a, b| Some((signed(a) $than signed(b)).into()),
                (Op::$compare, Kind::U64) => |a, b| Some(((a as u64) $than (b as u64)).into()),)*
                _ => whole(op, kind),
            }
        };
    }
    floats!(Add +, Subtract -, Multiply *, Divide /, Modulo %;
        Equal ==, NotEqual !=, Less <, LessEqual <=, Greater >, GreaterEqual >=)
}

fn whole(op: BinaryOperator, kind: Kind) -> Binary {
    use BinaryOperator as Op;
    match (op, kind) {
        (Op::Add, _) => |a, b| Some(a.wrapping_add(b)),
        (Op::Subtract, _) => |a, b| Some(a.wrapping_sub(b)),
        (Op::Multiply, _) => |a, b| Some(a.wrapping_mul(b)),
        (Op::Divide, Kind::U32) => |a, b| unsigned(a).checked_div(unsigned(b)).map(Slot::from),
        (Op::Modulo, Kind::U32) => |a, b| unsigned(a).checked_rem(unsigned(b)).map(Slot::from),
        (Op::Divide, Kind::I32) => |a, b| signed(a).checked_div(signed(b)).map(Slot::from),
        (Op::Modulo, Kind::I32) => |a, b| signed(a).checked_rem(signed(b)).map(Slot::from),
        (Op::And | Op::LogicalAnd, Kind::U64) => |a, b| Some(a & b),
        (Op::InclusiveOr | Op::LogicalOr, Kind::U64) => |a, b| Some(a | b),
        (Op::ShiftLeft, Kind::U64) => |a, b| (unsigned(b) < 64).then(|| a << b),
        (Op::ShiftRight, Kind::U64) => |a, b| (unsigned(b) < 64).then(|| (a as u64 >> b) as Slot),
        (Op::And | Op::LogicalAnd, Kind::U32 | Kind::Bool) => |a, b| Some((unsigned(a) & unsigned(b)).into()),
        (Op::InclusiveOr | Op::LogicalOr, Kind::U32 | Kind::Bool) => |a, b| Some((unsigned(a) | unsigned(b)).into()),
        (Op::ExclusiveOr, Kind::U32 | Kind::Bool) => |a, b| Some((unsigned(a) ^ unsigned(b)).into()),
        (Op::ShiftLeft, Kind::U32 | Kind::I32) => |a, b| (unsigned(b) < 32).then(|| a.wrapping_shl(unsigned(b))),
        (Op::ShiftRight, Kind::U32) => |a, b| unsigned(a).checked_shr(unsigned(b)).map(Slot::from),
        (Op::ShiftRight, Kind::I32) => |a, b| signed(a).checked_shr(unsigned(b)).map(Slot::from),
        _ => panic!("{op:?} of {kind:?} is not known"),
    }
}

pub type Unary = fn(Slot) -> Option<Slot>;

pub fn unary(op: UnaryOperator, kind: Kind) -> Unary {
    match (op, kind) {
        (UnaryOperator::Negate, Kind::F32 | Kind::F16) => |a| Some(of_float(-float(a))),
        (UnaryOperator::Negate, Kind::I32) => |a| Some(a.wrapping_neg()),
        (UnaryOperator::LogicalNot, Kind::Bool) => |a| Some(a ^ 1),
        (UnaryOperator::BitwiseNot, Kind::U32) => |a| Some((!unsigned(a)).into()),
        _ => panic!("{op:?} of {kind:?} is not known"),
    }
}

/// A conversion of values.
pub fn convert(from: Kind, to: Kind) -> Unary {
    match (from, to) {
        (Kind::F32, Kind::F16) => |a| Some(of_half(float(a))),
        (Kind::F16 | Kind::F32, Kind::F32) | (Kind::F16, Kind::F16) => Some,
        (Kind::F32 | Kind::F16, Kind::U32) => |a| {
            let value = float(a).trunc();
            (value >= 0.0 && value < 2f32.powi(32)).then_some(value as Slot)
        },
        (Kind::F32 | Kind::F16, Kind::I32) => |a| {
            let value = float(a).trunc();
            (value >= -(2f32.powi(31)) && value < 2f32.powi(31)).then_some(value as Slot)
        },
        (Kind::U32 | Kind::Bool, Kind::F32) => |a| Some(of_float(unsigned(a) as f32)),
        (Kind::U32 | Kind::Bool, Kind::F16) => |a| Some(of_half(unsigned(a) as f32)),
        (Kind::I32, Kind::F32) => |a| Some(of_float(signed(a) as f32)),
        // The bits stay, and so does the exact number.
        (Kind::U32 | Kind::I32 | Kind::Bool, Kind::U32 | Kind::I32) => Some,
        (Kind::U32, Kind::U64) => |a| Some(unsigned(a).into()),
        (Kind::U64, Kind::U32) => |a| Some(unsigned(a).into()),
        (Kind::U64, Kind::U64) => Some,
        _ => panic!("a conversion from {from:?} to {to:?} is not known"),
    }
}

/// The same bits as another kind of scalar.
pub fn bitcast(from: Kind, to: ScalarKind) -> Unary {
    match (from, to) {
        (Kind::F32 | Kind::U32 | Kind::I32, ScalarKind::Float | ScalarKind::Uint) => |a| Some(unsigned(a).into()),
        (Kind::F32 | Kind::U32 | Kind::I32, ScalarKind::Sint) => |a| Some(signed(a).into()),
        _ => panic!("a bitcast from {from:?} to {to:?} is not known"),
    }
}

/// A function of the components of up to three arguments.
pub type Math = fn([Slot; 3]) -> Slot;

pub fn math(fun: MathFunction, kind: Kind) -> Math {
    use MathFunction as Fun;
    macro_rules! floats {
        ($($name:ident |$a:ident, $b:ident, $c:ident| $value:expr;)*) => {
            match (fun, kind) {
                $((Fun::$name, Kind::F32) => |args| {
                    let [$a, $b, $c] = args.map(float);
                    let _ = ($b, $c);
                    of_float($value)
                },
                (Fun::$name, Kind::F16) => |args| {
                    let [$a, $b, $c] = args.map(float);
                    let _ = ($b, $c);
                    of_half($value)
                },)*
                (Fun::Min, Kind::U32) => |[a, b, _]| if unsigned(a) <= unsigned(b) { a } else { b },
                (Fun::Max, Kind::U32) => |[a, b, _]| if unsigned(a) >= unsigned(b) { a } else { b },
                (Fun::Clamp, Kind::U32) => {
                    |[a, b, c]| unsigned(a).max(unsigned(b)).min(unsigned(c)).into()
                }
                (Fun::Min, Kind::I32) => |[a, b, _]| if signed(a) <= signed(b) { a } else { b },
                (Fun::Max, Kind::I32) => |[a, b, _]| if signed(a) >= signed(b) { a } else { b },
                (Fun::Clamp, Kind::I32) => |[a, b, c]| signed(a).max(signed(b)).min(signed(c)).into(),
                _ => panic!("{fun:?} of {kind:?} is not known"),
            }
        };
    }
    floats! {
        Min |a, b, c| a.min(b);
        Max |a, b, c| a.max(b);
        Clamp |a, b, c| a.max(b).min(c);
        Abs |a, b, c| a.abs();
        Exp |a, b, c| a.exp();
        Exp2 |a, b, c| a.exp2();
        Log |a, b, c| a.ln();
        Log2 |a, b, c| a.log2();
        Pow |a, b, c| a.powf(b);
        Tanh |a, b, c| a.tanh();
        Floor |a, b, c| a.floor();
        Ceil |a, b, c| a.ceil();
        Round |a, b, c| a.round_ties_even();
        Trunc |a, b, c| a.trunc();
        Sqrt |a, b, c| a.sqrt();
        Fma |a, b, c| a.mul_add(b, c);
    }
}

pub fn unpacked(slot: Slot) -> [Slot; 2] {
    [slot, slot >> 16].map(|half| of_float(f16::from_bits(half as u16).to_f32()))
}

pub fn packed([low, high]: [Slot; 2]) -> Slot {
    let [low, high] = [low, high].map(|value| u32::from(f16::from_f32(float(value)).to_bits()));
    (low | high << 16).into()
}
