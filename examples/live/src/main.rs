//! A window with the application. See the README beside it.

use octconv_live::{App, with_timestamps};

fn main() -> eframe::Result {
    let mut options = eframe::NativeOptions::default();
    options.viewport = options.viewport.with_inner_size([1000.0, 560.0]);
    if let eframe::egui_wgpu::WgpuSetup::CreateNew(setup) = &mut options.wgpu_options.wgpu_setup {
        with_timestamps(setup);
    }
    let create = |cc: &eframe::CreationContext<'_>| Ok(Box::new(App::new(cc)?) as Box<dyn eframe::App>);
    eframe::run_native("octconv in an egui application", options, Box::new(create))
}
