// The Values that the transforms work on: numbers that lie side by side in memory and are transformed together. Here a
// Value is one number.
//
// All files in place of this one declare the same names: a Value has PARTS numbers; part(v, k) is number k; value_of
// makes a Value of its first number and its last.

const PARTS: u32 = 1u;
alias Value = f32;

fn part(v: Value, k: u32) -> f32 {
    return v;
}

fn value_of(first: f32, last: f32) -> Value {
    return first;
}
