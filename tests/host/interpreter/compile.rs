//! From naga's form of a kernel to a program. What is not known is refused by a panic: nothing passes by chance.

use std::collections::HashMap;

use naga::proc::TypeResolution;
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, Arena, Barrier, BinaryOperator, Block, Expression, Function, GlobalVariable, Handle, Literal,
    LocalVariable, MathFunction, Module, RelationalFunction, Scalar, Span, Statement, StorageAccess, SwitchValue,
    TypeInner,
};

use super::arithmetic::{self, Slot};
use super::layout::{Kind, Types};
use super::program::{At, Binding, Index, Length, Matrix, Op, Place, Program, Space};

/// The program of a source whose entry point is the only one.
pub fn compile(source: &str, subgroup: u32) -> Program {
    let module = naga::front::wgsl::parse_str(source);
    let module = module.unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(source)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
    let info = info.unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(source)));
    let types = Types { module: &module, subgroup };
    let mut compiler = Compiler::new(types, source);
    for (handle, function) in module.functions.iter() {
        let compiled = compiler.function(function, &info[handle]);
        compiler.functions.insert(handle, compiled);
    }
    compiler.finish(&info)
}

struct Compiler<'a> {
    types: Types<'a>,
    program: Program,
    /// Where each line begins.
    lines: Vec<usize>,
    globals: HashMap<Handle<GlobalVariable>, Place>,
    functions: HashMap<Handle<Function>, Compiled>,
    line: u32,
}

/// A function that can be called.
struct Compiled {
    entry: usize,
    arguments: Vec<At>,
    result: At,
}

impl<'a> Compiler<'a> {
    fn new(types: Types<'a>, source: &str) -> Self {
        let program = Program {
            ops: Vec::new(),
            lines: Vec::new(),
            places: Vec::new(),
            entry: 0,
            slots: Vec::new(),
            private: Vec::new(),
            workgroup_slots: 0,
            bindings: Vec::new(),
            builtins: Vec::new(),
            threads: 0,
            source: source.into(),
        };
        let lines = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (globals, functions) = (HashMap::new(), HashMap::new());
        let mut compiler = Self { types, program, lines, globals, functions, line: 0 };
        for (handle, variable) in types.module.global_variables.iter() {
            let place = compiler.global(variable);
            compiler.globals.insert(handle, place);
        }
        compiler
    }

    fn global(&mut self, variable: &GlobalVariable) -> Place {
        let inner = self.types.inner(variable.ty);
        let (space, first) = match variable.space {
            AddressSpace::Private => {
                let values = match variable.init {
                    Some(init) => {
                        constant(self.types, &self.types.module.global_expressions, init).expect("a constant")
                    }
                    None => vec![0; self.types.slots(inner) as usize],
                };
                let first = self.constant(values);
                self.program.private.push(first as usize..self.program.slots.len());
                (Space::Own, first)
            }
            AddressSpace::WorkGroup => {
                let first = self.program.workgroup_slots;
                self.program.workgroup_slots += self.types.slots(inner);
                (Space::Workgroup, first)
            }
            AddressSpace::Storage { .. } | AddressSpace::Uniform => {
                let binding = self.binding(variable);
                self.program.bindings.push(binding);
                (Space::Buffer(self.program.bindings.len() - 1), 0)
            }
            other => panic!("{other:?} is not known"),
        };
        Place { space, first, pointer: None, indices: Vec::new(), scalars: Vec::new(), slots: 0 }
    }

    fn binding(&self, variable: &GlobalVariable) -> Binding {
        let inner = self.types.inner(variable.ty);
        let is_array = matches!(inner, TypeInner::Array { size: naga::ArraySize::Dynamic, .. });
        let scalars =
            if is_array { self.types.scalars(&self.types.element(inner).0) } else { self.types.scalars(inner) };
        let number = variable.binding.expect("a binding");
        assert_eq!(number.group, 0);
        Binding {
            number: number.binding,
            name: variable.name.clone().unwrap_or_default(),
            written: matches!(variable.space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE)),
            unit: scalars.iter().map(|(_, kind)| kind.width()).min().expect("scalars"),
            least: inner.size(self.types.module.to_ctx()),
        }
    }

    /// New slots.
    fn take(&mut self, count: u32) -> At {
        let first = self.program.slots.len();
        self.program.slots.resize(first + count as usize, 0);
        first as At
    }

    fn constant(&mut self, values: Vec<Slot>) -> At {
        let first = self.take(0);
        self.program.slots.extend(values);
        first
    }

    fn push(&mut self, op: Op) -> usize {
        self.program.ops.push(op);
        self.program.lines.push(self.line);
        self.program.ops.len() - 1
    }

    /// What follows is of this part of the source.
    fn at(&mut self, span: Span) {
        if let Some(range) = span.to_range() {
            self.line = self.lines.partition_point(|&begin| begin <= range.start) as u32;
        }
    }

    fn function(&mut self, function: &Function, info: &FunctionInfo) -> Compiled {
        let entry = self.program.ops.len();
        let arguments: Vec<At> =
            function.arguments.iter().map(|argument| self.take(self.types.slots_of(argument.ty))).collect();
        let result = self.take(function.result.as_ref().map_or(0, |result| self.types.slots_of(result.ty)));
        let mut body = Body {
            compiler: self,
            function,
            info,
            arguments: arguments.clone(),
            result,
            values: HashMap::new(),
            locals: HashMap::new(),
            breaks: Vec::new(),
            continues: Vec::new(),
        };
        body.locals();
        body.block(&function.body);
        self.push(Op::Return);
        Compiled { entry, arguments, result }
    }

    fn finish(mut self, info: &ModuleInfo) -> Program {
        let [entry] = self.types.module.entry_points.as_slice() else { panic!("not one entry point") };
        let compiled = self.function(&entry.function, info.get_entry_point(0));
        self.program.entry = compiled.entry;
        self.program.threads = entry.workgroup_size.iter().product();
        for (argument, &at) in entry.function.arguments.iter().zip(&compiled.arguments) {
            let Some(naga::Binding::BuiltIn(builtin)) = argument.binding else { panic!("{argument:?} is not known") };
            self.program.builtins.push((builtin, at));
        }
        self.program
    }
}

/// A function that is being compiled.
struct Body<'b, 'a> {
    compiler: &'b mut Compiler<'a>,
    function: &'b Function,
    info: &'b FunctionInfo,
    arguments: Vec<At>,
    result: At,
    values: HashMap<Handle<Expression>, At>,
    locals: HashMap<Handle<LocalVariable>, At>,
    /// The jumps that leave a loop or a switch, of each that is open.
    breaks: Vec<Vec<usize>>,
    /// The jumps to the end of a loop.
    continues: Vec<Vec<usize>>,
}

impl Body<'_, '_> {
    fn push(&mut self, op: Op) -> usize {
        self.compiler.push(op)
    }

    fn types(&self) -> Types<'_> {
        self.compiler.types
    }

    fn inner(&self, expression: Handle<Expression>) -> TypeInner {
        match &self.info[expression].ty {
            TypeResolution::Handle(ty) => self.types().inner(*ty).clone(),
            TypeResolution::Value(inner) => inner.clone(),
        }
    }

    fn slots(&self, expression: Handle<Expression>) -> u32 {
        self.types().slots(&self.inner(expression))
    }

    fn kind(&self, expression: Handle<Expression>) -> Kind {
        self.types().kind(&self.inner(expression))
    }

    /// Variables have their values at the beginning of a function: those of loops are stored to there.
    fn locals(&mut self) {
        for (handle, variable) in self.function.local_variables.iter() {
            let slots = self.types().slots_of(variable.ty);
            let to = self.compiler.take(slots);
            self.locals.insert(handle, to);
            match variable.init {
                Some(init) => {
                    let from = self.value(init);
                    self.push(Op::Copy { to, from, count: slots });
                }
                None => {
                    let from = self.compiler.constant(vec![0]);
                    self.push(Op::Fill { to, from, count: slots });
                }
            }
        }
    }

    fn block(&mut self, block: &Block) {
        for (statement, span) in block.span_iter() {
            self.compiler.at(*span);
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match *statement {
            Statement::Emit(ref range) => {
                for expression in range.clone() {
                    self.compiler.at(self.function.expressions.get_span(expression));
                    if !matches!(self.inner(expression), TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. }) {
                        let at = self.evaluate(expression);
                        self.values.insert(expression, at);
                    }
                }
            }
            Statement::Block(ref block) => self.block(block),
            Statement::If { condition, ref accept, ref reject } => {
                let condition = self.value(condition);
                let skip = self.push(Op::JumpUnless { condition, to: 0 });
                self.block(accept);
                let leave = self.push(Op::Jump(0));
                self.land(skip);
                self.block(reject);
                self.land(leave);
            }
            Statement::Switch { selector, ref cases } => self.switch(selector, cases),
            Statement::Loop { ref body, ref continuing, break_if } => {
                let top = self.compiler.program.ops.len();
                self.breaks.push(Vec::new());
                self.continues.push(Vec::new());
                self.block(body);
                for jump in self.continues.pop().expect("a loop") {
                    self.land(jump);
                }
                self.block(continuing);
                match break_if {
                    Some(condition) => {
                        let condition = self.value(condition);
                        self.push(Op::JumpUnless { condition, to: top });
                    }
                    None => {
                        self.push(Op::Jump(top));
                    }
                }
                self.land_breaks();
            }
            Statement::Break => {
                let jump = self.push(Op::Jump(0));
                self.breaks.last_mut().expect("something to leave").push(jump);
            }
            Statement::Continue => {
                let jump = self.push(Op::Jump(0));
                self.continues.last_mut().expect("a loop").push(jump);
            }
            Statement::Return { value } => {
                if let Some(value) = value {
                    let (to, from, count) = (self.result, self.value(value), self.slots(value));
                    self.push(Op::Copy { to, from, count });
                }
                self.push(Op::Return);
            }
            Statement::ControlBarrier(flags) => {
                let (workgroup, storage) = (flags.contains(Barrier::WORK_GROUP), flags.contains(Barrier::STORAGE));
                assert!(workgroup || storage, "{flags:?} is not known");
                self.push(Op::Barrier { workgroup, storage });
            }
            Statement::Store { pointer, value } => {
                let (place, from) = (self.place(pointer), self.value(value));
                let op = match place {
                    place if place.is_known() => Op::Copy { to: place.first, from, count: place.slots },
                    place => Op::Store { place: self.keep(place), from },
                };
                self.push(op);
            }
            Statement::Call { function, ref arguments, result } => self.call(function, arguments, result),
            Statement::CooperativeStore { target, data } => {
                let TypeInner::CooperativeMatrix { columns, .. } = self.inner(target) else { panic!("no matrix") };
                let (from, place, stride) = (self.value(target), self.element(data.pointer), self.value(data.stride));
                let side = columns as u32;
                self.push(Op::Matrix(Matrix::Store { from, place, stride, by_rows: data.row_major, side }));
            }
            ref other => panic!("{other:?} is not known"),
        }
    }

    fn switch(&mut self, selector: Handle<Expression>, cases: &[naga::SwitchCase]) {
        self.breaks.push(Vec::new());
        let kind = self.kind(selector);
        let selector = self.value(selector);
        let condition = self.compiler.take(1);
        let apply = arithmetic::binary(BinaryOperator::Equal, kind);
        let mut jumps = Vec::new();
        for case in cases {
            let value = match case.value {
                SwitchValue::I32(value) => value.into(),
                SwitchValue::U32(value) => value.into(),
                SwitchValue::Default => continue,
            };
            let wanted = self.compiler.constant(vec![value]);
            self.push(Op::Binary { apply, to: condition, operands: [selector, wanted], steps: [0; 2], count: 1 });
            let skip = self.push(Op::JumpUnless { condition, to: 0 });
            jumps.push((case.value, self.push(Op::Jump(0))));
            self.land(skip);
        }
        let default = self.push(Op::Jump(0));
        jumps.push((SwitchValue::Default, default));
        for case in cases {
            let jump = jumps.iter().find(|(value, _)| *value == case.value).expect("a jump").1;
            self.land(jump);
            self.block(&case.body);
            if !case.fall_through {
                let leave = self.push(Op::Jump(0));
                self.breaks.last_mut().expect("a switch").push(leave);
            }
        }
        if !cases.iter().any(|case| case.value == SwitchValue::Default) {
            self.land(default);
        }
        self.land_breaks();
    }

    fn land_breaks(&mut self) {
        for jump in self.breaks.pop().expect("something to leave") {
            self.land(jump);
        }
    }

    /// Lets a jump end here.
    fn land(&mut self, jump: usize) {
        let here = self.compiler.program.ops.len();
        match &mut self.compiler.program.ops[jump] {
            Op::Jump(to) | Op::JumpUnless { to, .. } => *to = here,
            _ => panic!("no jump"),
        }
    }

    fn call(
        &mut self,
        function: Handle<Function>,
        arguments: &[Handle<Expression>],
        result: Option<Handle<Expression>>,
    ) {
        for (i, &argument) in arguments.iter().enumerate() {
            let to = self.compiler.functions[&function].arguments[i];
            if matches!(self.inner(argument), TypeInner::Pointer { .. }) {
                let place = self.place(argument);
                let place = self.keep(place);
                self.push(Op::Point { to, place });
            } else {
                let (from, count) = (self.value(argument), self.slots(argument));
                self.push(Op::Copy { to, from, count });
            }
        }
        let Compiled { entry, result: from, .. } = self.compiler.functions[&function];
        self.push(Op::Call(entry));
        if let Some(result) = result {
            // The next call overwrites it.
            let count = self.slots(result);
            let to = self.compiler.take(count);
            self.push(Op::Copy { to, from, count });
            self.values.insert(result, to);
        }
    }

    /// Where a value is: that of a constant, of an argument, or of what has been evaluated.
    fn value(&mut self, expression: Handle<Expression>) -> At {
        if let Some(&at) = self.values.get(&expression) {
            return at;
        }
        if let Expression::FunctionArgument(i) = self.function.expressions[expression] {
            return self.arguments[i as usize];
        }
        let values = constant(self.compiler.types, &self.function.expressions, expression);
        let values = values.unwrap_or_else(|| panic!("{:?} has no value", self.function.expressions[expression]));
        let at = self.compiler.constant(values);
        self.values.insert(expression, at);
        at
    }

    fn keep(&mut self, place: Place) -> usize {
        self.compiler.program.places.push(place);
        self.compiler.program.places.len() - 1
    }

    /// The place that a pointer points to, with all of what lies there.
    fn place(&mut self, pointer: Handle<Expression>) -> Place {
        let (mut place, inner) = self.place_of(pointer);
        place.slots = match inner {
            TypeInner::Array { size: naga::ArraySize::Dynamic, .. } => 0,
            ref inner => self.types().slots(inner),
        };
        if matches!(place.space, Space::Buffer(_)) && place.slots > 0 {
            place.scalars = self.types().scalars(&inner);
        }
        place
    }

    /// The place of an element of an array, with an index even if that is constant.
    fn element(&mut self, pointer: Handle<Expression>) -> usize {
        let (base, at) = match self.function.expressions[pointer] {
            Expression::AccessIndex { base, index } => (base, self.compiler.constant(vec![index.into()])),
            Expression::Access { base, index } => (base, self.value(index)),
            ref other => panic!("{other:?} is no element of an array"),
        };
        let (place, inner) = self.place_of(base);
        let (mut place, element) = self.indexed(place, &inner, at);
        place.scalars = self.types().scalars(&element);
        self.keep(place)
    }

    /// The place that a pointer points to, and the type of what lies there.
    fn place_of(&mut self, pointer: Handle<Expression>) -> (Place, TypeInner) {
        let own = |first, pointer| {
            let (indices, scalars) = (Vec::new(), Vec::new());
            Place { space: Space::Own, first, pointer, indices, scalars, slots: 0 }
        };
        match self.function.expressions[pointer] {
            Expression::GlobalVariable(variable) => {
                let ty = self.types().module.global_variables[variable].ty;
                (self.compiler.globals[&variable].clone(), self.types().inner(ty).clone())
            }
            Expression::LocalVariable(variable) => {
                let ty = self.function.local_variables[variable].ty;
                (own(self.locals[&variable], None), self.types().inner(ty).clone())
            }
            Expression::FunctionArgument(i) => {
                let TypeInner::Pointer { base, space } = self.inner(pointer) else { panic!("no pointer") };
                let mut place = own(0, Some(self.arguments[i as usize]));
                place.space = match space {
                    AddressSpace::Function | AddressSpace::Private => Space::Own,
                    AddressSpace::WorkGroup => Space::Workgroup,
                    other => panic!("an argument in {other:?} is not known"),
                };
                (place, self.types().inner(base).clone())
            }
            Expression::AccessIndex { base, index } => {
                let (mut place, inner) = self.place_of(base);
                if let (_, _, None) = self.steps(&inner) {
                    let at = self.compiler.constant(vec![index.into()]);
                    return self.indexed(place, &inner, at);
                }
                let (part, [slots, bytes]) = self.types().part(&inner, index);
                place.first += if matches!(place.space, Space::Buffer(_)) { bytes } else { slots };
                (place, part)
            }
            Expression::Access { base, index } => {
                let (place, inner) = self.place_of(base);
                let at = self.value(index);
                self.indexed(place, &inner, at)
            }
            ref other => panic!("{other:?} is no pointer that is known"),
        }
    }

    /// As [`Types::element`], with a length for what is no array.
    fn steps(&self, inner: &TypeInner) -> (Option<TypeInner>, [u32; 2], Option<u32>) {
        if let TypeInner::Struct { .. } = inner {
            return (None, [0; 2], Some(0));
        }
        let (element, steps, length) = self.types().element(inner);
        (Some(element), steps, length)
    }

    fn indexed(&self, mut place: Place, inner: &TypeInner, at: At) -> (Place, TypeInner) {
        let (element, [slots, bytes], length) = self.types().element(inner);
        let step = if matches!(place.space, Space::Buffer(_)) { bytes } else { slots };
        let length = length.map_or(Length::Rest(place.first), Length::Fixed);
        place.indices.push(Index { at, step, length });
        (place, element)
    }

    /// Adds what computes an expression, and returns where its value then is.
    fn evaluate(&mut self, expression: Handle<Expression>) -> At {
        if let Expression::AccessIndex { base, index } = self.function.expressions[expression] {
            let (_, [slots, _]) = self.types().part(&self.inner(base), index);
            return self.value(base) + slots;
        }
        let count = self.slots(expression);
        let to = self.compiler.take(count);
        match self.function.expressions[expression] {
            Expression::Compose { ref components, .. } => {
                let mut to = to;
                for &component in components {
                    let (from, count) = (self.value(component), self.slots(component));
                    self.push(Op::Copy { to, from, count });
                    to += count;
                }
            }
            Expression::Splat { value, .. } => {
                let from = self.value(value);
                self.push(Op::Fill { to, from, count });
            }
            Expression::Swizzle { vector, pattern, .. } => {
                let from = self.value(vector);
                for (to, component) in (to..to + count).zip(pattern) {
                    self.push(Op::Copy { to, from: from + component as u32, count: 1 });
                }
            }
            Expression::Access { base, index } => {
                let inner = self.inner(base);
                let (first, at) = (self.value(base), self.value(index));
                let (indices, scalars) = (Vec::new(), Vec::new());
                let place = Place { space: Space::Own, first, pointer: None, indices, scalars, slots: count };
                let (place, _) = self.indexed(place, &inner, at);
                let place = self.keep(place);
                self.push(Op::Load { to, place });
            }
            Expression::Load { pointer } => {
                let op = match self.place(pointer) {
                    place if place.is_known() => Op::Copy { to, from: place.first, count },
                    place => Op::Load { to, place: self.keep(place) },
                };
                self.push(op);
            }
            Expression::ArrayLength(pointer) => {
                let (mut place, inner) = self.place_of(pointer);
                let at = self.compiler.constant(vec![0]);
                (place, _) = self.indexed(place, &inner, at);
                let place = self.keep(place);
                self.push(Op::Length { to, place });
            }
            Expression::Unary { op, expr } => {
                let (apply, from) = (arithmetic::unary(op, self.kind(expr)), self.value(expr));
                self.push(Op::Unary { apply, to, from, count });
            }
            Expression::Binary { op, left, right } => {
                let apply = arithmetic::binary(op, self.kind(left));
                let operands = [left, right].map(|operand| self.value(operand));
                let steps = [left, right].map(|operand| u32::from(self.slots(operand) > 1));
                self.push(Op::Binary { apply, to, operands, steps, count });
            }
            Expression::Select { condition, accept, reject } => {
                let step = u32::from(self.slots(condition) > 1);
                let [condition, accept, reject] = [condition, accept, reject].map(|part| self.value(part));
                self.push(Op::Select { to, condition, step, accept, reject, count });
            }
            Expression::Relational { fun, argument } => {
                let (from, count) = (self.value(argument), self.slots(argument));
                let op = match fun {
                    RelationalFunction::All => Op::All { to, from, count },
                    RelationalFunction::Any => Op::Any { to, from, count },
                    other => panic!("{other:?} is not known"),
                };
                self.push(op);
            }
            Expression::Math { fun, arg, arg1, arg2, .. } => self.math(to, fun, [Some(arg), arg1, arg2], count),
            Expression::As { expr, kind, convert } => {
                let from = self.kind(expr);
                let apply = match convert {
                    Some(width) => arithmetic::convert(from, Kind::of(Scalar { kind, width })),
                    None => arithmetic::bitcast(from, kind),
                };
                let from = self.value(expr);
                self.push(Op::Unary { apply, to, from, count });
            }
            Expression::CooperativeLoad { columns, data, .. } => {
                let (place, stride) = (self.element(data.pointer), self.value(data.stride));
                let side = columns as u32;
                self.push(Op::Matrix(Matrix::Load { to, place, stride, by_rows: data.row_major, side }));
            }
            Expression::CooperativeMultiplyAdd { a, b, c } => {
                let TypeInner::CooperativeMatrix { columns, .. } = self.inner(c) else { panic!("no matrix") };
                let sums = self.kind(c);
                let [left, right, added] = [a, b, c].map(|matrix| self.value(matrix));
                let factors = [left, right];
                self.push(Op::Matrix(Matrix::MultiplyAdd { to, factors, added, side: columns as u32, sums }));
            }
            ref other => {
                let values = constant(self.compiler.types, &self.function.expressions, expression);
                let from = self.compiler.constant(values.unwrap_or_else(|| panic!("{other:?} is not known")));
                self.push(Op::Copy { to, from, count });
            }
        }
        to
    }

    fn math(&mut self, to: At, fun: MathFunction, arguments: [Option<Handle<Expression>>; 3], count: u32) {
        let first = arguments[0].expect("an argument");
        let kind = self.kind(first);
        let length = self.slots(first);
        let at = arguments.map(|argument| argument.map(|argument| self.value(argument)));
        let from = at[0].expect("an argument");
        let op = match fun {
            MathFunction::Unpack2x16float => Op::Unpack { to, from },
            MathFunction::Pack2x16float => Op::Pack { to, from },
            MathFunction::Dot => Op::Dot {
                multiply: arithmetic::binary(BinaryOperator::Multiply, kind),
                add: arithmetic::binary(BinaryOperator::Add, kind),
                to,
                operands: [from, at[1].expect("an argument")],
                count: length,
            },
            _ => Op::Math { apply: arithmetic::math(fun, kind), to, arguments: at.map(|at| at.unwrap_or(from)), count },
        };
        self.push(op);
    }
}

/// The value of a constant expression.
fn constant(types: Types<'_>, expressions: &Arena<Expression>, expression: Handle<Expression>) -> Option<Vec<Slot>> {
    let module: &Module = types.module;
    Some(match expressions[expression] {
        Expression::Literal(literal) => vec![match literal {
            Literal::F32(value) => arithmetic::of_float(value),
            Literal::F16(value) => arithmetic::of_float(value.to_f32()),
            Literal::U32(value) => value.into(),
            Literal::I32(value) => value.into(),
            Literal::U64(value) => value as Slot,
            Literal::Bool(value) => value.into(),
            other => panic!("{other:?} is not known"),
        }],
        Expression::Constant(handle) => constant(types, &module.global_expressions, module.constants[handle].init)?,
        Expression::ZeroValue(ty) => vec![0; types.slots_of(ty) as usize],
        Expression::Compose { ref components, .. } => {
            let parts = components.iter().map(|&component| constant(types, expressions, component));
            parts.collect::<Option<Vec<_>>>()?.concat()
        }
        Expression::Splat { size, value } => constant(types, expressions, value)?.repeat(size as usize),
        _ => return None,
    })
}
