use naga::valid::{Capabilities, ValidationFlags, Validator};
use octconv::Plan;

use crate::draw::Draw;
use crate::layer::Drawn;

/// A layer with options, on a device: naga accepts the sources of one of its plans.
pub fn shader(data: &[u8]) {
    let mut draw = Draw::new(data);
    let Ok(Drawn { spec, size, options, facts }) = Drawn::new(&mut draw) else { return };
    let candidates = Plan::candidates(&spec, size, &options, &facts);
    if candidates.is_empty() {
        return;
    }
    for source in draw.choose(&candidates).sources() {
        let module = naga::front::wgsl::parse_str(&source);
        let module = module.unwrap_or_else(|error| panic!("{}", error.emit_to_string(&source)));
        let valid = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
        valid.unwrap_or_else(|error| panic!("{}", error.emit_to_string(&source)));
        let limits = &facts.limits;
        for entry in &module.entry_points {
            let [x, y, z] = entry.workgroup_size;
            assert!(x <= limits.max_compute_workgroup_size_x);
            assert!(x * y * z <= limits.max_compute_invocations_per_workgroup);
        }
    }
}
