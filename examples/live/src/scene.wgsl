// The moving picture: rings, squares and stripes with grain, a texel per thread.

@group(0) @binding(0) var picture: texture_storage_2d<rgba8unorm, write>;
@group(0) @binding(1) var<uniform> seconds: vec4<f32>;

// A number from 0 to 1 that looks random.
fn grain(at: vec2<u32>, salt: u32) -> f32 {
    var x = at.x * 1597334677u ^ at.y * 3812015801u ^ salt * 2798796415u;
    x = (x ^ (x >> 15u)) * 2246822519u;
    x = (x ^ (x >> 13u)) * 3266489917u;
    return f32(x >> 8u) / 16777216.0;
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let size = textureDimensions(picture);
    if any(id.xy >= size) {
        return;
    }
    let t = seconds.x;
    let at = (vec2<f32>(id.xy) - 0.5 * vec2<f32>(size)) / f32(size.y);
    let centre = vec2<f32>(0.45 * sin(0.7 * t), 0.2 * cos(0.9 * t));
    let rings = 0.5 + 0.5 * sin(60.0 * length(at - centre) - 4.0 * t);
    let turned = vec2<f32>(at.x * cos(0.2 * t) - at.y * sin(0.2 * t), at.x * sin(0.2 * t) + at.y * cos(0.2 * t));
    let squares = f32((i32(floor(turned.x * 9.0)) + i32(floor(turned.y * 9.0))) & 1);
    let near = 1.0 - smoothstep(0.24, 0.26, length(at - centre));
    let clean = mix(vec3<f32>(0.12 + 0.5 * squares, 0.25 + 0.2 * squares, 0.45), vec3<f32>(0.95, 0.75 * rings, 0.3 + 0.3 * rings), near);
    let frame = u32(t * 30.0);
    let noise = vec3<f32>(grain(id.xy, 3u * frame), grain(id.xy, 3u * frame + 1u), grain(id.xy, 3u * frame + 2u)) - 0.5;
    textureStore(picture, vec2<i32>(id.xy), vec4<f32>(clamp(clean + 0.45 * noise, vec3<f32>(0.0), vec3<f32>(1.0)), 1.0));
}
