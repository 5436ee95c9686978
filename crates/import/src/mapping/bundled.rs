//! The mappings that come with the binary. They are files like anybody's own.

/// The mappings by name.
const BUNDLED: [(&str, &str); 4] = [
    ("cdnow", include_str!("../../mappings/cdnow.toml")),
    ("generated", include_str!("../../mappings/generated.toml")),
    ("olist", include_str!("../../mappings/olist.toml")),
    ("online-retail", include_str!("../../mappings/online-retail.toml")),
];

/// The text of a mapping by its name; otherwise the names that there are.
pub fn bundled(name: &str) -> Result<&'static str, Vec<&'static str>> {
    let found = BUNDLED.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| BUNDLED.iter().map(|(known, _)| *known).collect())
}
