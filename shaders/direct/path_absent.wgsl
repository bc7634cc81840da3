// In place of direct/path: the layer does not have the path.

#import direct/shape
#import direct/tile_high as tile

alias Sums = TileSums;

fn accumulate(sums: ptr<function, Sums>, p: PathShape, own: Owner, y: u32, x: u32) {
}
