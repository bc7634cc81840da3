//! The window.

use std::sync::{Arc, Mutex};

use eframe::egui::{self, Color32, RichText};
use eframe::egui_wgpu::{self, CallbackResources, CallbackTrait, RenderState, ScreenDescriptor};
use eframe::wgpu;
use octconv::{AdapterFacts, Engine, EngineOptions, Marks};

use crate::filter::{self, CHANNELS, Filter, Result, SIZE};
use crate::profiler::{Profiler, features};
use crate::scene::Scene;

/// Asks for what the profiler needs, if the adapter has it. octconv needs nothing.
pub fn with_timestamps(setup: &mut egui_wgpu::WgpuSetupCreateNew) {
    let usual = setup.device_descriptor.clone();
    setup.device_descriptor = Arc::new(move |adapter| {
        let mut descriptor = usual(adapter);
        descriptor.required_features |= adapter.features() & features();
        descriptor
    });
}

/// The application.
pub struct App {
    /// What runs in a frame. The frame is recorded elsewhere than the window is described.
    work: Arc<Mutex<Work>>,
    engine: Engine,
    /// The picture before and after the filter.
    textures: [wgpu::Texture; 2],
    shown: [egui::TextureId; 2],
    /// Low-frequency channels of the filter, and of the one that is compiled.
    low: u32,
    compiled: u32,
    /// Multiply-adds without octaves.
    plain_macs: u64,
    /// Seconds of the picture, and whether they go on.
    seconds: f32,
    moves: bool,
    problem: Option<String>,
}

/// What runs in a frame.
struct Work {
    scene: Scene,
    filter: Filter,
    profiler: Option<Profiler>,
    problem: Option<String>,
}

impl App {
    /// # Errors
    ///
    /// If eframe draws with something else than wgpu, or the device cannot run the filter.
    pub fn new(cc: &eframe::CreationContext<'_>) -> Result<Self> {
        let RenderState { adapter, device, queue, renderer, .. } =
            cc.wgpu_render_state.as_ref().ok_or("eframe does not draw with wgpu")?;
        let engine = Engine::new(device, EngineOptions { adapter: AdapterFacts::of(adapter), ..Default::default() });
        let textures = ["before", "after"].map(|label| texture(device, label));
        let shown = [0, 1].map(|i: usize| {
            let view = textures[i].create_view(&Default::default());
            renderer.write().register_native_texture(device, &view, wgpu::FilterMode::Linear)
        });
        let low = CHANNELS / 2;
        let plain_macs = filter::plain_macs()?;
        let filter = Filter::new(&engine, share(low), &textures[0], &textures[1])?;
        let profiler = Profiler::new(device, queue, filter.nodes() as u32);
        let work = Work { scene: Scene::new(device, &textures[0]), filter, profiler, problem: None };
        Ok(Self {
            work: Arc::new(Mutex::new(work)),
            engine,
            textures,
            shown,
            low,
            compiled: low,
            plain_macs,
            seconds: 0.0,
            moves: true,
            problem: None,
        })
    }

    /// The pictures before and after the filter.
    pub fn textures(&self) -> &[wgpu::Texture; 2] {
        &self.textures
    }

    /// Names and milliseconds of the parts of the filter. Empty without timestamps, and until a frame is done.
    pub fn times(&self) -> Vec<(String, f64)> {
        self.with_work(|work| work.profiler.as_mut().map(|profiler| profiler.times().to_vec()).unwrap_or_default())
    }

    /// Looks at the filter that runs.
    pub fn with_filter<T>(&self, look: impl FnOnce(&Filter) -> T) -> T {
        self.with_work(|work| look(&work.filter))
    }

    fn with_work<T>(&self, act: impl FnOnce(&mut Work) -> T) -> T {
        act(&mut self.work.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Compiles the filter if the slider has moved. A program that must not stop for it would do so in another thread.
    fn follow_slider(&mut self) {
        if self.low == self.compiled {
            return;
        }
        let [before, after] = &self.textures;
        match Filter::new(&self.engine, share(self.low), before, after) {
            Ok(filter) => {
                self.with_work(|work| work.filter = filter);
                self.problem = None;
            }
            Err(error) => self.problem = Some(error.to_string()),
        }
        self.compiled = self.low;
    }

    fn controls(&mut self, ui: &mut egui::Ui) {
        ui.horizontal_wrapped(|ui| {
            ui.label("low-frequency channels");
            ui.add(egui::Slider::new(&mut self.low, 0..=CHANNELS * 7 / 8).step_by(3.0).text(format!("of {CHANNELS}")));
            ui.label(format!("α = {:.3}", share(self.low)));
            ui.checkbox(&mut self.moves, "move");
        });
        let (macs, dispatches) = self.with_filter(|filter| (filter.macs(), filter.dispatches()));
        if let Ok(macs) = macs {
            let of_plain = macs as f64 / self.plain_macs.max(1) as f64;
            ui.label(format!(
                "{:.0} million multiply-adds a frame, {of_plain:.2} of those without octaves, in {dispatches} dispatches",
                macs as f64 / 1e6
            ));
        }
        for problem in self.problem.iter().chain(&self.with_work(|work| work.problem.clone())) {
            ui.colored_label(Color32::RED, problem);
        }
    }

    fn bars(&self, ui: &mut egui::Ui) {
        let times = self.times();
        if times.is_empty() {
            ui.label("no times: the device has no timestamps within a pass, or no frame is done");
            return;
        }
        let all: f64 = times.iter().map(|(_, ms)| ms).sum();
        ui.label(RichText::new(format!("{all:.2} ms on the device's clock")).strong());
        egui::Grid::new("times").show(ui, |ui| {
            for (name, ms) in &times {
                ui.label(name);
                let share = if all > 0.0 { (ms / all) as f32 } else { 0.0 };
                ui.add(egui::ProgressBar::new(share).desired_width(240.0).text(format!("{ms:.2} ms")));
                ui.end_row();
            }
        });
    }
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        if self.moves {
            self.seconds += ui.input(|input| input.stable_dt).min(0.1);
            ui.ctx().request_repaint();
        }
        self.follow_slider();
        egui::CentralPanel::default().show(ui, |ui| {
            ui.heading("An octave network in an egui frame");
            self.controls(ui);
            ui.add_space(8.0);
            let width = (ui.available_width() - 12.0) / 2.0;
            let size = egui::vec2(width, width * SIZE.h as f32 / SIZE.w as f32);
            ui.horizontal(|ui| {
                for (id, what) in self.shown.into_iter().zip(["the application's picture", "filtered"]) {
                    ui.vertical(|ui| {
                        ui.image((id, size));
                        ui.label(what);
                    });
                }
            });
            // egui calls it when it records the frame.
            let frame = Frame { work: self.work.clone(), seconds: self.seconds };
            ui.painter().add(egui_wgpu::Callback::new_paint_callback(ui.max_rect(), frame));
            ui.add_space(8.0);
            self.bars(ui);
        });
    }
}

/// What is recorded into the frame of the application, before it is drawn.
struct Frame {
    work: Arc<Mutex<Work>>,
    seconds: f32,
}

impl CallbackTrait for Frame {
    fn prepare(
        &self,
        _device: &wgpu::Device,
        queue: &wgpu::Queue,
        _screen: &ScreenDescriptor,
        encoder: &mut wgpu::CommandEncoder,
        _resources: &mut CallbackResources,
    ) -> Vec<wgpu::CommandBuffer> {
        let mut work = self.work.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        work.scene.set_time(queue, self.seconds);
        work.problem = work.record(encoder).err().map(|error| error.to_string());
        Vec::new()
    }

    fn paint(
        &self,
        _info: egui::PaintCallbackInfo,
        _pass: &mut wgpu::RenderPass<'static>,
        _resources: &CallbackResources,
    ) {
    }
}

impl Work {
    fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        let Self { scene, filter, profiler, .. } = self;
        let mut pass =
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("filter"), timestamp_writes: None });
        scene.record(&mut pass);
        let timestamps = profiler.as_ref().map(|profiler| (profiler.queries(), 0));
        let parts = filter.record(&mut pass, Marks { groups: true, timestamps })?;
        drop(pass);
        if let Some(profiler) = profiler {
            profiler.resolve(encoder, &parts);
        }
        Ok(())
    }
}

fn texture(device: &wgpu::Device, label: &str) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some(label),
        size: wgpu::Extent3d { width: SIZE.w, height: SIZE.h, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::STORAGE_BINDING
            | wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    })
}

fn share(low: u32) -> f64 {
    f64::from(low) / f64::from(CHANNELS)
}
