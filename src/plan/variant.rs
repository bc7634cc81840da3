//! One way to run a layer: a strategy, a family and a tile.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::error::Error;
use crate::kernels::{FAMILIES, Family as Kernels};

/// How a layer is cut into dispatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// All paths and the epilogue of both outputs in one dispatch.
    Fused,
    /// First one dispatch per pooled map, into scratch. Then one dispatch that reads them, or one per output if the
    /// device cannot bind so many buffers.
    PoolFirst,
    /// One dispatch per output. Each binds fewer buffers, for layers with more tensors than some devices can bind.
    Split,
    /// First everything at low resolution: Y_L, and the sums of L->H into scratch. Then Y_H, which starts from those
    /// sums. A thread can then use each weight for as many positions as in a convolution without octaves.
    LowFirst,
    /// For small maps on large devices: cuts the input channels into slices. First come pooled maps, one dispatch each.
    /// Then each slice has workgroups of its own, which make its partial sums in f32, into scratch. A last dispatch
    /// adds them up.
    SplitK,
    /// Winograd convolutions: dispatches that transform the inputs, multiply at the points of the transform, and make
    /// the outputs from the products, with scratch between them. At stride 2 pooled maps come first, one dispatch each.
    Transform,
    /// One dispatch each for pool, four convolutions, upsample and adds. It is there for comparisons.
    Unfused,
}

/// All strategies, in the order in which the planner tries them. If estimates are equal, the first wins.
const STRATEGIES: [Strategy; 7] = [
    Strategy::Fused,
    Strategy::PoolFirst,
    Strategy::Split,
    Strategy::LowFirst,
    Strategy::SplitK,
    Strategy::Transform,
    Strategy::Unfused,
];

impl Strategy {
    /// All strategies.
    pub fn all() -> impl Iterator<Item = Self> {
        STRATEGIES.into_iter()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fused => "fused",
            Self::PoolFirst => "pool-first",
            Self::Split => "split",
            Self::LowFirst => "low-first",
            Self::SplitK => "split-k",
            Self::Transform => "transform",
            Self::Unfused => "unfused",
        }
    }
}

/// The kernels that convolve: `direct`, `direct-f16`, `pointwise`, `staged`, `staged-f16`, `matrix` or `winograd`. Get
/// one from [`Family::all`], or by parsing its name.
#[derive(Clone, Copy)]
pub struct Family(&'static dyn Kernels);

impl Family {
    /// All families.
    pub fn all() -> impl Iterator<Item = Self> {
        FAMILIES.iter().map(|&kernels| Self(kernels))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The names of its tiles. A tile says how much of the output a thread or a workgroup makes; `docs/vocabulary.md`
    /// has the grammar.
    pub fn tiles(self) -> &'static [&'static str] {
        self.0.tiles()
    }

    pub(crate) fn kernels(self) -> &'static dyn Kernels {
        self.0
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Family {}

impl Hash for Family {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Family({})", self.name())
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Family {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let names = || Self::all().map(Self::name).collect::<Vec<_>>().join(", ");
        let found = Self::all().find(|family| family.name() == s);
        found.ok_or_else(|| Error::argument("family", s, format!("must be one of {}", names())))
    }
}

/// One way to run a layer: a strategy, a family and a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// How the layer is cut into dispatches.
    pub strategy: Strategy,
    /// The kernels that convolve.
    pub family: Family,
    /// How much of the output a thread or a workgroup makes: one of [`Family::tiles`]. `None` leaves it to the planner.
    /// The variant of a plan always has a tile.
    pub tile: Option<&'static str>,
}

impl Variant {
    /// Every strategy with every family, without a tile. A layer can run only some of them: see
    /// [`Plan::candidates`](crate::Plan::candidates).
    pub fn all() -> impl Iterator<Item = Self> {
        let pair = |strategy| Family::all().map(move |family| Self { strategy, family, tile: None });
        Strategy::all().flat_map(pair)
    }

    /// The variant without its tile, which leaves the tile to the planner.
    pub fn untiled(self) -> Self {
        Self { tile: None, ..self }
    }

    /// The outputs of a Winograd tile along an axis, if the variant is a Winograd convolution.
    #[cfg(feature = "context")]
    pub(crate) fn transformed_outputs(self) -> Option<u32> {
        self.family.kernels().transformed_outputs(self.tile.unwrap_or_default())
    }

    /// The variant with each of its family's tiles.
    pub(crate) fn tiled(self) -> impl Iterator<Item = Self> {
        self.family.tiles().iter().map(move |&tile| Self { tile: Some(tile), ..self })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.strategy.name(), self.family.name())?;
        self.tile.map_or(Ok(()), |tile| write!(f, "/{tile}"))
    }
}

impl FromStr for Variant {
    type Err = Error;

    /// `STRATEGY/FAMILY` or `STRATEGY/FAMILY/TILE`.
    fn from_str(s: &str) -> Result<Self, Error> {
        let names = || Self::all().map(|v| v.to_string()).collect::<Vec<_>>().join(", ");
        let unknown = || Error::argument("variant", s, format!("must be one of {}", names()));
        let mut parts = s.splitn(3, '/');
        let (strategy, family) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let variant =
            Self::all().find(|v| v.strategy.name() == strategy && v.family.name() == family).ok_or_else(unknown)?;
        let Some(wanted) = parts.next() else { return Ok(variant) };
        let tiles = variant.family.tiles();
        let tile = tiles.iter().copied().find(|&tile| tile == wanted).ok_or_else(|| {
            Error::argument("variant", s, format!("must have a tile of its family: {}", tiles.join(", ")))
        })?;
        Ok(Self { tile: Some(tile), ..variant })
    }
}
