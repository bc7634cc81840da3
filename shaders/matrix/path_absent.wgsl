// In place of matrix/path: the layer does not have the path, or matrix/replicated makes it.

#import matrix/tile

fn gather(gathered: ptr<function, Gathered>, places: ptr<function, Places>, p: PathShape, at: Cursor, share: u32) {
}
