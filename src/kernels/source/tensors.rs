//! How a recipe binds a tensor: one call sets the file, the types and the binding.
//!
//! | call | interface of the instance, or of the program | files |
//! |---|---|---|
//! | [`Recipe::input`] | `load(i)`, `load_2(i)`, `load_word(i)` | `tensors/input*` |
//! | [`Recipe::output`] | `store(i, value)`, `store_2(i, values)` | `tensors/output*` |
//! | [`Recipe::input_vectors`] | `load(i) -> Vector` | `tensors/vectors_in*` |
//! | [`Recipe::output_vectors`] | `store(i, value: Vector)` | `tensors/vectors_out*` |
//! | [`Recipe::weights`], [`Recipe::weights_as_f16`] | `weight(i)`, `bias(i)`, `lane(v, k)`, `Lane`, `LANES` | `tensors/weights*` |
//!
//! The last one is a plain import, `#import tensors/weights`; the others are instances. The variable that is bound is
//! called `elements` in an instance, and `weights` in the plain import. `weights_as_f16` also binds `biases`.

use super::recipe::Recipe;
use crate::device::Words;
use crate::kernels::access::Access;
use crate::kernels::types::Types;
use crate::precision::Dtype;

/// Names of the instances of a kernel's inputs, if several paths may read the same one: see [`Recipe::same`].
pub(crate) const INPUTS: [&str; 8] = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"];

/// How a tensor of activations is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// There is no tensor: loads return zero, stores do nothing.
    Absent,
    /// Element by element.
    Elements(Dtype),
    /// Two elements at once, the first at an even index, in words of this kind.
    Pairs(Dtype, Words),
}

impl Types {
    /// The form of a tensor of activations.
    pub(crate) fn form(self, present: bool, paired: bool) -> Form {
        match (present, paired) {
            (false, _) => Form::Absent,
            (true, false) => Form::Elements(self.activations),
            (true, true) => Form::Pairs(self.activations, self.words),
        }
    }
}

impl Form {
    /// Two elements of this type as a WGSL vector.
    fn pair(dtype: Dtype) -> &'static str {
        match dtype {
            Dtype::F32 => "vec2<f32>",
            Dtype::F16 => "vec2<f16>",
        }
    }
}

/// The WGSL types of this many f32, and of this many f16.
fn vectors(lanes: u32) -> [&'static str; 2] {
    match lanes {
        1 => ["f32", "f16"],
        2 => ["vec2<f32>", "vec2<f16>"],
        _ => ["vec4<f32>", "vec4<f16>"],
    }
}

impl Recipe {
    /// Binds the tensor of an instance of `tensors/input`.
    pub(crate) fn input(self, instance: &'static str, form: Form) -> Self {
        let bound = |recipe: Self| recipe.binding_in(instance, "elements", Access::Read);
        match form {
            Form::Absent => self.file(instance, "tensors/input_absent"),
            Form::Elements(dtype) => {
                bound(self.file(instance, "tensors/input").alias_in(instance, "Element", dtype.wgsl()))
            }
            Form::Pairs(Dtype::F32, Words::Integers) => bound(self.file(instance, "tensors/input_words_f32")),
            Form::Pairs(Dtype::F16, Words::Integers) => bound(self.file(instance, "tensors/input_words_f16")),
            Form::Pairs(dtype, _) => {
                bound(self.file(instance, "tensors/input_pairs").alias_in(instance, "Pair", Form::pair(dtype)))
            }
        }
    }

    /// Binds the tensor of an instance of `tensors/output`.
    pub(crate) fn output(self, instance: &'static str, form: Form) -> Self {
        let bound = |recipe: Self| recipe.binding_in(instance, "elements", Access::Write);
        match form {
            Form::Absent => self.file(instance, "tensors/output_absent"),
            Form::Elements(dtype) => {
                bound(self.file(instance, "tensors/output").alias_in(instance, "Element", dtype.wgsl()))
            }
            Form::Pairs(Dtype::F32, Words::Integers) => bound(self.file(instance, "tensors/output_words_f32")),
            Form::Pairs(Dtype::F16, Words::Integers) => bound(self.file(instance, "tensors/output_words_f16")),
            Form::Pairs(dtype, _) => {
                bound(self.file(instance, "tensors/output_pairs").alias_in(instance, "Pair", Form::pair(dtype)))
            }
        }
    }

    /// Binds the f32 tensor of an instance of `tensors/vectors_in`, which is read in vectors of 1, 2 or 4.
    pub(crate) fn input_vectors(self, instance: &'static str, words: Words, lanes: u32) -> Self {
        let recipe = match (words, lanes) {
            (Words::Integers, 2) => self.file(instance, "tensors/vectors_in_words_2"),
            (Words::Integers, 4) => self.file(instance, "tensors/vectors_in_words_4"),
            _ => self.file(instance, "tensors/vectors_in").alias_in(instance, "Vector", vectors(lanes)[0]),
        };
        recipe.binding_in(instance, "elements", Access::Read)
    }

    /// Binds the f32 tensor of an instance of `tensors/vectors_out`, which is written in vectors of 1, 2 or 4.
    pub(crate) fn output_vectors(self, instance: &'static str, words: Words, lanes: u32) -> Self {
        let recipe = match (words, lanes) {
            (Words::Integers, 2) => self.file(instance, "tensors/vectors_out_words_2"),
            (Words::Integers, 4) => self.file(instance, "tensors/vectors_out_words_4"),
            _ => self.file(instance, "tensors/vectors_out").alias_in(instance, "Vector", vectors(lanes)[0]),
        };
        recipe.binding_in(instance, "elements", Access::Write)
    }

    /// Binds the packed weights of `tensors/weights`, in vectors of 1, 2 or 4 output channels. They are stored as
    /// `dtype` and used as f32. Biases are always f32.
    pub(crate) fn weights(self, dtype: Dtype, words: Words, lanes: u32) -> Self {
        let wide = words == Words::Integers;
        let file = match (dtype, lanes) {
            (Dtype::F32, 2) if wide => "tensors/weights_words_2",
            (Dtype::F32, 4) if wide => "tensors/weights_words_4",
            (Dtype::F16, 4) if wide => "tensors/weights_f16_words_4",
            (Dtype::F32, _) => "tensors/weights",
            (Dtype::F16, 1) => "tensors/weights_f16_1",
            (Dtype::F16, 2) => "tensors/weights_f16_2",
            (Dtype::F16, _) => "tensors/weights_f16_4",
        };
        self.lanes(lanes)
            .when(file != "tensors/weights", |recipe| recipe.file("tensors/weights", file))
            .binding("weights", Access::Read)
    }

    /// Like [`Recipe::weights`], but weights are also used as f16, in vectors of 2 or 4. The buffer is bound twice,
    /// once per type, because naga 30 translates a bitcast of words to halves to a wrong type for Metal.
    pub(crate) fn weights_as_f16(self, lanes: u32) -> Self {
        self.lanes(lanes)
            .file("tensors/weights", "tensors/weights_as_f16")
            .alias("Weights", vectors(lanes)[1])
            .binding("weights", Access::Read)
            .binding("biases", Access::Read)
    }

    /// Sets the constants and types of `common/lanes`.
    fn lanes(self, lanes: u32) -> Self {
        if lanes == 1 {
            return self.file("common/lanes", "common/lanes_1");
        }
        self.constant("LANES", lanes).alias("Lane", vectors(lanes)[0])
    }
}
